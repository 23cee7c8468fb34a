//! The environment: the only place where it is read.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dhow_image::daemon;
use dhow_image::registry::conf::Files;
use dhow_image::registry::docker_opts::DOCKER_DEFAULTS;
use dhow_image::registry::{DAEMON_FILES, Proxy};
use dhow_image::rootless::Dirs;
use dhow_image::source::Storage;

/// The environment, read once.
pub struct Environment {
    /// Who we were before we entered a namespace of our own.
    uid: u32,
    pub(super) root: Option<OsString>,
    pub(super) run: Option<OsString>,
    pub(super) data_home: Option<OsString>,
    pub(super) config_home: Option<OsString>,
    pub(super) runtime_dir: Option<OsString>,
    pub(super) home: Option<OsString>,
    pub(super) docker_config: Option<OsString>,
    pub(super) auth_file: Option<OsString>,
    pub(super) ca_file: Option<OsString>,
    pub(super) ca_dir: Option<OsString>,
    pub(super) proxy: Option<Proxy>,
    pub(super) epoch: Option<OsString>,
    pub(super) docker_host: Option<OsString>,
    pub(super) docker_tls: bool,
    pub(super) docker_certs: Option<OsString>,
    pub(super) storage_conf: Option<OsString>,
    pub(super) registries_conf: Option<OsString>,
    pub(super) daemon_json: Option<OsString>,
    pub(super) cache_home: Option<OsString>,
    pub(super) mtree: Option<OsString>,
}

impl Environment {
    /// Reads it.
    pub fn read() -> Self {
        let get = |name: &str| env::var_os(name).filter(|v| !v.is_empty());
        Self {
            uid: nix::unistd::geteuid().as_raw(),
            root: get("DHOW_ROOT"),
            run: get("DHOW_RUN"),
            data_home: get("XDG_DATA_HOME"),
            config_home: get("XDG_CONFIG_HOME"),
            runtime_dir: get("XDG_RUNTIME_DIR"),
            home: get("HOME"),
            docker_config: get("DOCKER_CONFIG"),
            auth_file: get("REGISTRY_AUTH_FILE"),
            ca_file: get("SSL_CERT_FILE"),
            ca_dir: get("SSL_CERT_DIR"),
            proxy: Proxy::of(|name| env::var(name).ok()),
            epoch: get("SOURCE_DATE_EPOCH"),
            docker_host: get("DOCKER_HOST"),
            docker_tls: get("DOCKER_TLS_VERIFY").is_some(),
            docker_certs: get("DOCKER_CERT_PATH"),
            storage_conf: get("CONTAINERS_STORAGE_CONF"),
            registries_conf: get("CONTAINERS_REGISTRIES_CONF")
                .or_else(|| get("REGISTRIES_CONFIG_PATH")),
            daemon_json: get("DHOW_DAEMON_JSON"),
            cache_home: get("XDG_CACHE_HOME"),
            mtree: get("DHOW_MTREE"),
        }
    }

    /// The docker daemon, as docker's own client finds it.
    pub(super) fn daemon(&self) -> daemon::Host {
        let certs = self.docker_certs.as_ref().map(PathBuf::from);
        let certs = certs.or_else(|| self.home(".docker")).filter(|_| self.docker_tls);
        let address = self.docker_host.as_ref().map(|h| h.to_string_lossy().into_owned());
        let address = address.unwrap_or_else(|| daemon::DEFAULT.to_owned());
        daemon::Host { address, certs, verify: true }
    }

    /// Where podman keeps images, by its storage.conf.
    pub(super) fn storage(&self) -> Storage {
        let rootless = self.uid != 0;
        let mut storage = Storage::default();
        let home = self.home.as_ref().map(Path::new).filter(|_| rootless);
        if rootless {
            let data = self.data_home.as_ref().map(PathBuf::from);
            let data = data.or_else(|| self.home(".local/share"));
            storage.root = data.map_or(storage.root, |d| d.join("containers/storage"));
        }
        let usual = ["/usr/share/containers/storage.conf", "/etc/containers/storage.conf"];
        let mut files: Vec<PathBuf> = usual.map(PathBuf::from).to_vec();
        files.extend(
            self.config_dir().filter(|_| rootless).map(|d| d.join("containers/storage.conf")),
        );
        if let Some(file) = &self.storage_conf {
            files = vec![file.into()];
        }
        // As podman has it: the last that is there counts whole.
        let found = files.iter().rev().find_map(|file| std::fs::read_to_string(file).ok());
        found.map_or(storage.clone(), |text| storage.with(&text, home))
    }

    pub(super) fn home(&self, rest: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|h| Path::new(h).join(rest))
    }

    /// The files that may say who we are, in podman's order: its own, then docker's.
    pub(super) fn auth_files(&self) -> Vec<PathBuf> {
        if let Some(file) = &self.auth_file {
            return vec![file.into()];
        }
        let podman = [Some(self.session()), self.config_dir().map(|d| d.join("containers"))];
        let podman = podman.into_iter().flatten().map(|d| d.join("auth.json"));
        let docker = self.docker_config.as_ref().map(PathBuf::from);
        let docker = docker.or_else(|| self.home(".docker")).map(|d| d.join("config.json"));
        podman.chain(docker).chain(self.home(".dockercfg")).collect()
    }

    /// dockerd's settings: a file that is named, else dhow's, else docker's.
    pub(super) fn daemon_files(&self) -> Vec<PathBuf> {
        let named = self.daemon_json.as_ref().map(PathBuf::from);
        if let Some(file) = named {
            return vec![file];
        }
        let own = self.config_dir().filter(|_| self.uid != 0);
        let own = own.into_iter().flat_map(|dir| ["dhow", "docker"].map(|name| dir.join(name)));
        let own = own.map(|dir| dir.join("daemon.json"));
        own.chain(DAEMON_FILES.map(PathBuf::from)).collect()
    }

    /// docker's flags, which go with docker's own file.
    pub(super) fn docker_defaults(&self) -> Option<&'static Path> {
        self.daemon_json.is_none().then(|| Path::new(DOCKER_DEFAULTS))
    }

    /// The files of registries.conf.
    pub(super) fn registries_files(&self, named: Option<&PathBuf>) -> Files {
        let cache = if self.uid == 0 {
            Some(PathBuf::from("/var/cache"))
        } else {
            self.cache_home.as_ref().map(PathBuf::from).or_else(|| self.home(".cache"))
        };
        let set = self.registries_conf.as_ref().map(PathBuf::from);
        let named = named.cloned().or(set);
        Files::usual(named, self.config_dir(), cache)
    }

    /// Where podman keeps what belongs to this session.
    pub(super) fn session(&self) -> PathBuf {
        match &self.runtime_dir {
            Some(dir) => Path::new(dir).join("containers"),
            None => format!("/run/containers/{}", self.uid).into(),
        }
    }

    /// `~/.config`, or where it is instead.
    pub(super) fn config_dir(&self) -> Option<PathBuf> {
        self.config_home.as_ref().map(PathBuf::from).or_else(|| self.home(".config"))
    }

    /// Where dhow keeps what runs.
    pub(super) fn run(&self, root: &Path) -> PathBuf {
        match &self.run {
            Some(run) => run.into(),
            None if self.uid == 0 => "/run/dhow".into(),
            None => self.dirs().run(self.uid, root),
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        let own = || self.dirs().root().filter(|_| self.uid != 0);
        let given = self.root.as_ref().map(PathBuf::from);
        given.or_else(own).unwrap_or_else(|| "/var/lib/dhow".into())
    }

    fn dirs(&self) -> Dirs<'_> {
        Dirs {
            data: self.data_home.as_deref().map(Path::new),
            runtime: self.runtime_dir.as_deref().map(Path::new),
            home: self.home.as_deref().map(Path::new),
        }
    }
}
