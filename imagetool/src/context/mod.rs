//! What every verb needs: the store, the settings, where to print.

mod environment;

use std::cell::{OnceCell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_image::build::view::{Colors, Look};
use dhow_image::platform::Platform;
use dhow_image::progress::{Progress, Silent};
use dhow_image::reference::Reference;
use dhow_image::registry::conf::Registries;
use dhow_image::registry::{Credentials, DaemonFile, Keyring, Logins, Server, Settings};
use dhow_image::rootless;
use dhow_image::store::Store;
use dhow_image::transport::Place;
use dhow_image::trust::Trust;
use dhow_image::words::nearest;
use dhow_image::{Error, Result};

use crate::bar::{Bars, Lines};
use crate::cli::access::Who;
use crate::cli::{Global, RegistryFlags, TrustFlags};

pub use environment::Environment;

/// What `-` reads.
pub fn stdin() -> Box<dyn io::Read + Send> {
    Box::new(io::stdin())
}

/// What `-` writes.
pub fn stdout() -> Box<dyn Write + Send> {
    Box::new(io::stdout())
}

/// What every verb needs.
pub struct Context {
    root: PathBuf,
    /// Why an ordinary user has no namespace, and so no store.
    shut_out: RefCell<Option<Error>>,
    environment: Environment,
    registries: OnceCell<Arc<Registries>>,
    run: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// Say more.
    pub debug: bool,
    /// What has to be signed, and by whom.
    pub trust: TrustFlags,
    /// The registries.conf that was named.
    registries_conf: Option<PathBuf>,
    /// Where what comes from a pipe is laid, if not in the store.
    pub tmpdir: Option<PathBuf>,
    /// What registries are told before our own name.
    user_agent_prefix: Option<String>,
    /// skopeo's outdated --tls-verify before the verb.
    tls_verify: Option<bool>,
    /// skopeo's --override-os, --override-arch, --override-variant.
    overrides: [Option<String>; 3],
}

impl Context {
    /// From flags and environment.
    pub fn new(global: Global, environment: Environment) -> Result<Self> {
        if let Some(file) = &global.tls_details {
            let what = format!("--tls-details {}", file.display());
            let hint = "TLS 1.2 and 1.3 are spoken with the usual ciphers, and nothing else";
            return Err(Error::unsupported(what, hint));
        }
        if let Some(file) = &global.cpu_profile {
            let what = format!("--cpu-profile {}", file.display());
            return Err(Error::unsupported(what, "nothing here profiles itself: use perf record"));
        }
        let (debug, quiet) = (global.says_more(), global.is_quiet());
        if global.tls_verify.is_some() && !quiet {
            eprintln!(
                "dhow-image: '--tls-verify' is deprecated, please set this on the specific subcommand"
            );
        }
        Ok(Self {
            root: global.root.unwrap_or_else(|| environment.root()),
            environment,
            shut_out: RefCell::default(),
            run: global.run,
            json: global.json,
            quiet,
            debug,
            trust: global.trust,
            registries_conf: global.registries_conf,
            registries: OnceCell::new(),
            tmpdir: global.tmpdir,
            user_agent_prefix: global.user_agent_prefix,
            tls_verify: global.tls_verify,
            overrides: [global.override_os, global.override_arch, global.override_variant],
        })
    }

    /// Whether every bundle gets an mtree manifest: for scripts that were written for umoci.
    pub fn wants_mtree(&self) -> bool {
        self.environment.mtree.as_ref().is_some_and(|v| v != "0")
    }

    /// Which platform is meant: what a verb's own flag says, or skopeo's --override flags;
    /// the host's if neither is there.
    pub fn platform(&self, typed: Option<&str>) -> Result<Option<Platform>> {
        if let Some(text) = typed {
            return text.parse().map(Some);
        }
        let [os, architecture, variant] = &self.overrides;
        if self.overrides.iter().all(Option::is_none) {
            return Ok(None);
        }
        let host = Platform::host();
        let native = architecture.as_ref().is_none_or(|a| *a == host.architecture);
        let own = if native { host.variant } else { String::new() };
        Ok(Some(Platform {
            os: os.clone().unwrap_or(host.os),
            architecture: architecture.clone().unwrap_or(host.architecture),
            variant: variant.clone().unwrap_or(own),
            ..Platform::default()
        }))
    }

    /// The store.
    pub fn store(&self) -> Result<Store> {
        if let Some(why) = self.shut_out.borrow_mut().take() {
            return Err(why);
        }
        Store::open(&self.root)
    }

    /// The store, if reading from one of the places needs it. Else none is made, and none is waited for.
    pub fn store_for<'a>(&self, places: impl IntoIterator<Item = &'a Place>) -> Result<Store> {
        if places.into_iter().any(Place::is_read_by_store) {
            return self.store();
        }
        Ok(Store::unopened(&self.root))
    }

    /// Makes an ordinary user root in a namespace of the user's own. Where that can't be, the verbs
    /// that need the store say so. There are no threads yet.
    pub fn enter_namespace(&self) {
        let path = self.variable("PATH");
        let entered = rootless::enter(&self.run_dir(), path.as_deref());
        *self.shut_out.borrow_mut() = entered.err();
    }

    /// The error with the image that was probably meant, if one of the store wasn't found.
    pub fn with_near_name(&self, error: Error) -> Error {
        let Error::NotFound { what: "image", name, hint } = &error else { return error };
        let Ok(typed) = Reference::parse_normal(name) else { return error };
        if !hint.is_empty() || !self.root.join("images").exists() {
            return error;
        }
        let images = self.store().and_then(|store| store.images()).unwrap_or_default();
        let names = images.iter().flat_map(|image| &image.names).map(Reference::familiar);
        match nearest(&typed.tagged().familiar(), names) {
            Some(near) => error.noting(&format!("did you mean {near}?")),
            None => error,
        }
    }

    /// What is meant by the flags for a registry.
    pub fn settings(&self, flags: &RegistryFlags) -> Result<Settings> {
        let files = match &flags.authfile {
            Some(file) => vec![file.clone()],
            None => self.environment.auth_files(),
        };
        let registries = self.registries()?;
        let mut keyring = Keyring { files, fixed: None, helpers: registries.helpers().to_vec() };
        match flags.who()? {
            Who::Known => {}
            Who::Nobody => keyring = Keyring::default(),
            Who::User(user, password) => keyring.fixed = Some(basic(user, password)?),
            Who::Token(token) => keyring.fixed = Some(Credentials::Bearer(token)),
        }
        let mut cert_dirs =
            ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from).to_vec();
        cert_dirs.extend(self.environment.config_dir().map(|d| d.join("containers/certs.d")));
        let verify = flags.tls_verify.or(self.tls_verify);
        let mut settings = Settings {
            plain_http: flags.plain_http,
            insecure: verify == Some(false),
            secure: verify == Some(true),
            cert_dir: flags.cert_dir.clone(),
            cert_dirs,
            ca_file: self.environment.ca_file.as_ref().map(PathBuf::from),
            ca_dir: self.environment.ca_dir.as_ref().map(PathBuf::from),
            proxy: self.environment.proxy.clone(),
            keyring,
            trusted_realms: flags.trust_realm.clone(),
            mirrors: flags.mirror.clone(),
            insecure_hosts: Vec::new(),
            retries: flags.retry_times,
            retry_delay: flags.retry_delay,
            idle: flags.idle_timeout,
            stopped: None,
            notice: (!self.quiet).then_some(|text| eprintln!("dhow-image: {text}")),
            registries,
            user_agent_prefix: self.user_agent_prefix.clone(),
            trust: self.trust(),
            daemon: self.environment.daemon(),
            storage: self.environment.storage(),
        };
        settings.obey(DaemonFile::read(
            &self.environment.daemon_files(),
            self.environment.docker_defaults(),
        )?);
        Ok(settings)
    }

    /// Where logins are kept: by flag, by the environment, else podman's file of this session.
    pub fn auth_place(&self, authfile: Option<&Path>, compat: Option<&Path>) -> Result<AuthPlace> {
        let env = &self.environment;
        let place = |path: PathBuf, docker| Ok(AuthPlace { path, docker, named: true });
        match (authfile, compat) {
            (Some(_), Some(_)) => Err(Error::Conflict(
                "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously".into(),
            )),
            (Some(path), None) => place(path.to_owned(), false),
            (None, Some(path)) => place(path.to_owned(), true),
            (None, None) => {
                if let Some(path) = &env.auth_file {
                    return place(path.into(), false);
                }
                if let Some(dir) = &env.docker_config {
                    return place(Path::new(dir).join("config.json"), true);
                }
                if let Some(dir) = env.runtime_dir.as_ref().filter(|d| !Path::new(d).exists()) {
                    let why = "create it, or unset XDG_RUNTIME_DIR";
                    return Err(Error::usage("XDG_RUNTIME_DIR", dir.to_string_lossy(), why));
                }
                let path = env.session().join("auth.json");
                Ok(AuthPlace { path, docker: false, named: false })
            }
        }
    }

    /// What registries.conf says; read when first asked for.
    pub fn registries(&self) -> Result<Arc<Registries>> {
        if let Some(known) = self.registries.get() {
            return Ok(Arc::clone(known));
        }
        let read =
            Registries::read(&self.environment.registries_files(self.registries_conf.as_ref()))?;
        Ok(Arc::clone(self.registries.get_or_init(|| Arc::new(read))))
    }

    /// Whose images may come in.
    pub fn trust(&self) -> Trust {
        let home = self.environment.home.as_ref().map(Path::new);
        let flags = &self.trust;
        let mut trust = Trust::find(home);
        if flags.insecure_policy || flags.policy.is_some() {
            trust = trust.by(flags.policy.clone().filter(|_| !flags.insecure_policy));
        }
        if let Some(folder) = &flags.registries_d {
            trust = trust.registries_d(folder.clone());
        }
        if flags.require_signed { trust.signed_only() } else { trust }
    }

    /// A bar on a terminal, lines elsewhere, nothing with --quiet.
    pub fn progress(&self) -> Box<dyn Progress> {
        if self.quiet {
            Box::new(Silent)
        } else if io::stderr().is_terminal() {
            Box::new(Bars::new())
        } else {
            Box::new(Lines)
        }
    }

    /// A variable of the caller's, for what names it: `--build-arg NAME`, `--secret env=NAME`.
    #[allow(clippy::unused_self)] // the environment is the context's business
    pub fn variable(&self, name: &str) -> Option<std::ffi::OsString> {
        std::env::var_os(name)
    }

    /// Where programs are looked for.
    pub fn search(&self) -> Vec<PathBuf> {
        let path = self.variable("PATH").unwrap_or_default();
        std::env::split_paths(&path).collect()
    }

    /// RUN: what a reboot may clear.
    pub fn run_dir(&self) -> PathBuf {
        self.run.clone().unwrap_or_else(|| self.environment.run(&self.root))
    }

    /// An OCI runtime: typed with a slash it is taken as it is, else looked for in PATH; without
    /// one it is dhow-runtime beside this program, or in PATH.
    pub fn runtime(&self, typed: Option<&Path>) -> Result<PathBuf> {
        let name = typed.unwrap_or(Path::new("dhow-runtime"));
        if name.as_os_str().as_encoded_bytes().contains(&b'/') {
            return std::path::absolute(name).map_err(Error::at("find", name));
        }
        let own = std::fs::read_link("/proc/self/exe").ok().map(|exe| exe.with_file_name(name));
        let beside = own.filter(|path| typed.is_none() && path.is_file());
        let found = beside.or_else(|| {
            self.search().into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
        });
        found.ok_or_else(|| Error::NotFound {
            what: "runtime",
            name: name.display().to_string(),
            hint: "RUN needs one: install dhow-runtime beside dhow-image, or give --runtime".into(),
        })
    }

    /// How a build's progress looks.
    pub fn look(&self) -> Look {
        let word = |name: &str| self.variable(name).and_then(|v| v.into_string().ok());
        let usual = Look::default();
        let plain = word("NO_COLOR").is_some_and(|v| !v.is_empty());
        let colors = if plain { Colors::default() } else { usual.colors.clone() };
        Look {
            size: || dhow_kernel::tty::size(io::stderr().as_fd()).ok(),
            colors: word("BUILDKIT_COLORS")
                .filter(|_| !plain)
                .map_or(colors.clone(), |v| colors.with(&v)),
            log_lines: word("BUILDKIT_TTY_LOG_LINES")
                .and_then(|v| v.parse().ok())
                .unwrap_or(usual.log_lines),
            limit: word("PROGRESS_NO_TRUNC").filter(|v| v == "0").map(|_| 72),
        }
    }

    /// Now, or SOURCE_DATE_EPOCH: what is made twice is the same then. RFC 3339.
    pub fn now(&self) -> Result<String> {
        Ok(self.epoch()?.unwrap_or_else(jiff::Timestamp::now).to_string())
    }

    /// SOURCE_DATE_EPOCH, if it is set.
    pub fn epoch(&self) -> Result<Option<jiff::Timestamp>> {
        let Some(text) = &self.environment.epoch else { return Ok(None) };
        let text = text.to_string_lossy();
        let bad = |_| Error::usage("SOURCE_DATE_EPOCH", &*text, "it is a number of seconds");
        let seconds: i64 = text.parse().map_err(bad)?;
        let time = jiff::Timestamp::from_second(seconds);
        let far = |_| Error::usage("SOURCE_DATE_EPOCH", &*text, "no calendar goes so far");
        time.map(Some).map_err(far)
    }

    /// One line for whoever comes next in the pipe.
    #[allow(clippy::unused_self)] // where to print is the context's business
    pub fn line(&self, text: impl std::fmt::Display) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::at("write", "stdout"))
    }

    /// A line of words for people; with --json a document that has them.
    pub fn said(&self, text: impl std::fmt::Display) -> Result<()> {
        if !self.json {
            return self.line(text);
        }
        self.print_json(&serde_json::json!({ "message": text.to_string() }))
    }

    /// A JSON document for whoever comes next in the pipe.
    pub fn print_json(&self, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::invalid("output", e))?;
        self.line(text)
    }

    /// A line on stderr about what may not be as it was meant.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            eprintln!("dhow-image: {text}");
        }
    }

    /// Where large files lie for a moment that can't be in the store.
    pub fn spool(&self) -> PathBuf {
        self.tmpdir.clone().unwrap_or_else(|| "/var/tmp".into())
    }

    /// A line on stderr with --debug.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.debug {
            eprintln!("dhow-image: {}", text());
        }
    }
}

/// The file that logins are kept in.
pub struct AuthPlace {
    path: PathBuf,
    /// In docker's form, which has its own name for Docker Hub and no logins for repositories.
    pub docker: bool,
    /// By flag or environment: no other file counts.
    named: bool,
}

impl AuthPlace {
    /// The file, to be changed.
    pub fn logins(&self) -> Logins {
        Logins::new(self.path.clone())
    }

    /// What a server is called there.
    pub fn key(&self, server: &Server) -> Result<Server> {
        if self.docker { server.as_docker() } else { Ok(server.clone()) }
    }

    /// The files that may know a login already.
    pub fn readable(&self, cx: &Context) -> Vec<PathBuf> {
        if self.named { vec![self.path.clone()] } else { cx.environment.auth_files() }
    }
}

/// A user and a password; one that wasn't typed is read from stdin.
fn basic(user: String, password: Option<String>) -> Result<Credentials> {
    if user.is_empty() {
        return Err(Error::Conflict("username can't be empty".into()));
    }
    let password = if let Some(password) = password {
        password
    } else {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(Error::at("read", "stdin"))?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    Ok(Credentials::Basic { user, password })
}
