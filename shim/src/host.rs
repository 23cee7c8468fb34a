//! Where everything is: stores, runtime, images. Handed to every verb.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use dhow_image::registry::conf::{Files, Registries};
use dhow_image::registry::{self, DaemonFile, Keyring};
use dhow_image::store::Store;
use dhow_image::trust::Trust;

use crate::error::{Error, Result};
use crate::model::Record;
use crate::settings;
use crate::store::{Containers, Networks, Volumes};

/// The two directories of a world: what is kept, and what a reboot clears.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `ROOT`: images, layers, containers, volumes.
    pub root: PathBuf,
    /// `RUN`: monitors, runtime state, locks.
    pub run: PathBuf,
}

impl Paths {
    /// Whether these are root's own, which need no flags.
    pub fn is_usual(&self) -> bool {
        self.root == Path::new("/var/lib/dhow") && self.run == Path::new("/run/dhow")
    }
    /// ROOT/containers/ID
    pub fn container(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }
    /// ROOT/containers/ID/bundle
    pub fn bundle(&self, id: &str) -> PathBuf {
        self.container(id).join("bundle")
    }
    /// ROOT/containers/ID/rootfs, the overlay's mount point.
    pub fn rootfs(&self, id: &str) -> PathBuf {
        self.container(id).join("rootfs")
    }
    /// ROOT/containers/ID/container.log
    pub fn log(&self, id: &str) -> PathBuf {
        self.container(id).join("container.log")
    }
    /// ROOT/layers
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }
    /// ROOT/layers/HEX/fs of a chain id `sha256:HEX`.
    pub fn layer_fs(&self, chain_id: &str) -> PathBuf {
        let hex = chain_id.split_once(':').map_or(chain_id, |(_, hex)| hex);
        self.layers().join(hex).join("fs")
    }
    /// RUN/monitors/ID
    pub fn monitor(&self, id: &str) -> PathBuf {
        self.run.join("monitors").join(id)
    }
    /// RUN/monitors/ID/notify: where a container says that it is ready, if somebody wants to hear it.
    pub fn notify(&self, id: &str) -> PathBuf {
        self.monitor(id).join("notify")
    }
    /// RUN/runtime, the runtime's `--root`.
    pub fn runtime_root(&self) -> PathBuf {
        self.run.join("runtime")
    }
}

/// Opens stores, runtime and images; handed to every verb.
pub struct Host {
    /// The two directories.
    pub paths: Paths,
    /// Container records.
    pub containers: Containers,
    /// Named volumes.
    pub volumes: Volumes,
    /// Networks.
    pub networks: Networks,
    /// config.json and daemon.json, read when first asked for.
    pub settings: settings::Settings,
    runtime: PathBuf,
    /// `runtime` was named for this call, whatever daemon.json says.
    is_named: bool,
    images: OnceLock<Store>,
}

impl Host {
    /// A host over `paths`; `runtime` is what `--runtime` or DHOW_RUNTIME named, else the default is searched.
    pub fn open(
        paths: Paths,
        settings: settings::Settings,
        runtime: Option<&Path>,
    ) -> Result<Self> {
        let is_named = runtime.is_some();
        let runtime = match runtime {
            Some(path) => search(path)?,
            None => default_runtime(),
        };
        Ok(Self {
            containers: Containers::open(&paths.root),
            volumes: Volumes::open(&paths.root),
            networks: Networks::open(&paths),
            paths,
            settings,
            runtime,
            is_named,
            images: OnceLock::new(),
        })
    }

    /// The same once more, for somebody who needs one of their own.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            paths: self.paths.clone(),
            containers: Containers::open(&self.paths.root),
            volumes: Volumes::open(&self.paths.root),
            networks: Networks::open(&self.paths),
            settings: self.settings.again(),
            runtime: self.runtime.clone(),
            is_named: self.is_named,
            images: OnceLock::new(),
        }
    }

    /// The runtime of a new container: what `--runtime` names, else DHOW_RUNTIME, else
    /// daemon.json's default, else dhow's own. A name is one of daemon.json's, or a program's.
    pub fn runtime_for(&self, named: Option<&str>) -> Result<RuntimeProgram> {
        let daemon = self.settings.daemon()?;
        let usual =
            daemon.default_runtime.as_deref().filter(|name| !self.is_named && !name.is_empty());
        let Some(name) = named.or(usual) else {
            let (path, name) = (self.runtime.clone(), file_name(&self.runtime));
            return Ok(RuntimeProgram { name, path, arguments: Vec::new() });
        };
        let Some(entry) = daemon.runtimes.get(name) else {
            if matches!(name, "io.containerd.runc.v2" | "io.containerd.runtime.v1.linux") {
                let (path, name) = (self.runtime.clone(), file_name(&self.runtime));
                return Ok(RuntimeProgram { name, path, arguments: Vec::new() });
            }
            let path = search(Path::new(name)).map_err(|e| {
                Error::conflict(format!("unknown or invalid runtime name: {name}; {}", e.message))
            })?;
            return Ok(RuntimeProgram { name: file_name(&path), path, arguments: Vec::new() });
        };
        let Some(path) = entry.path.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
            return Err(Error::usage(format!(
                "runtime {name}: daemon.json gives it no path but containerd's \"{}\", which dhow can't call; give a path",
                entry.runtime_type.as_deref().unwrap_or_default()
            )));
        };
        let arguments = entry.runtime_args.clone();
        Ok(RuntimeProgram { name: name.to_owned(), path: search(path)?, arguments })
    }

    /// The runtime program that made or will make this container.
    pub fn runtime_of<'a>(&'a self, record: &'a Record) -> &'a Path {
        let named = Path::new(&record.host_config.runtime);
        if named.as_os_str().is_empty() { &self.runtime } else { named }
    }

    /// The image store, opened when first asked for.
    pub fn images(&self) -> Result<&Store> {
        if let Some(store) = self.images.get() {
            return Ok(store);
        }
        let store = Store::open(&self.paths.root).map_err(|e| Error::engine(e.to_string()))?;
        Ok(self.images.get_or_init(|| store))
    }

    /// How registries are spoken to: logins of docker's and podman's files, proxies of the environment.
    pub fn registry(&self) -> Result<registry::Settings> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let docker = self.settings.client_file().map(Path::to_path_buf);
        let trusted = std::env::var("DHOW_TRUST_REALM").unwrap_or_default();
        let daemon = self.settings.daemon()?;
        let config = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|h| h.join(".config")));
        let files = Files::usual(var("CONTAINERS_REGISTRIES_CONF"), config, None);
        let mut settings = registry::Settings {
            cert_dirs: vec!["/etc/docker/certs.d".into(), "/etc/containers/certs.d".into()],
            ca_file: var("SSL_CERT_FILE"),
            ca_dir: var("SSL_CERT_DIR"),
            proxy: registry::Proxy::of(|name| std::env::var(name).ok()),
            keyring: Keyring {
                files: docker.into_iter().chain(var("REGISTRY_AUTH_FILE")).collect(),
                ..Keyring::default()
            },
            registries: Arc::new(Registries::read(&files).map_err(crate::making::of_image)?),
            trusted_realms: trusted.split_whitespace().map(str::to_owned).collect(),
            trust: Self::trust(),
            ..registry::Settings::default()
        };
        settings.obey(DaemonFile {
            registry_mirrors: daemon.registry_mirrors.clone(),
            insecure_registries: daemon.insecure_registries.clone(),
        });
        Ok(settings)
    }

    /// Whose images may come in: podman's policy, where there is one.
    pub fn trust() -> Trust {
        Trust::find(
            std::env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from).as_deref(),
        )
    }
}

/// A runtime, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeProgram {
    /// What it is called by.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What stands before its verb.
    pub arguments: Vec<String>,
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A runtime typed as a name is searched in PATH; typed with a slash it is taken as it is.
pub fn search(name: &Path) -> Result<PathBuf> {
    if name.as_os_str().as_encoded_bytes().contains(&b'/') {
        return std::path::absolute(name).map_err(|e| Error::io("runtime", name, e));
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::usage(format!(
                "runtime \"{}\" not found in PATH; give its full path",
                name.display()
            ))
        })
}

/// The sibling of this program, else whatever PATH has under that name.
fn default_runtime() -> PathBuf {
    let name = Path::new("dhow-runtime");
    let sibling = std::fs::read_link("/proc/self/exe").ok().map(|exe| exe.with_file_name(name));
    match sibling {
        Some(path) if path.is_file() => path,
        Some(path) => search(name).unwrap_or(path),
        None => search(name).unwrap_or_else(|_| name.to_path_buf()),
    }
}
