//! Registries: the distribution-spec's pull and push sides, over HTTP/1.1.
//!
//! A [`Client`] speaks to one repository of one registry. Credentials belong to that
//! registry's host and go nowhere else: not to where a redirect leads, not to an upload
//! location elsewhere, not to a layer's foreign url.

mod auth;
mod blob;
pub mod conf;
pub mod credentials;
mod daemon;
mod delete;
pub mod docker_opts;
mod download;
mod helper;
mod insecure;
mod logins;
mod manifests;
mod patience;
mod pinned;
mod places;
mod proxy;
mod referrers;
mod request;
mod resolve;
mod search;
mod tags;
mod tls;
mod upload;
pub(crate) mod url;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, DefaultConnector, RustlsConnector, TcpConnector,
};

use crate::error::{Error, Result};
use crate::trust::Trust;

pub use blob::BlobReader;
pub use credentials::{Credentials, Keyring};
pub use daemon::{DAEMON_FILES, DaemonFile};
pub use download::{Download, download, download_with_time};
pub use logins::{Kept, Logins, Server, is_wrong_password, verify};
pub use places::{first_of, may_differ};
pub use proxy::Proxy;
pub use referrers::kind_of;
pub(crate) use resolve::Resolver;
pub use search::{Found, search, split_term};
pub(crate) use tls::of_daemon as daemon_tls;
pub use upload::{Open, Pushed};

/// What holds for every registry; filled by the program from flags and environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Speak http, whatever the host.
    pub plain_http: bool,
    /// Don't check certificates; then also fall back to http.
    pub insecure: bool,
    /// Check certificates, whatever files say of a registry.
    pub secure: bool,
    /// A folder that holds `*.crt`, `*.cert`, `*.key` for whoever is asked, or folders of hosts.
    pub cert_dir: Option<PathBuf>,
    /// Folders that hold `HOST[:PORT]/{*.crt,*.cert,*.key}`, as `/etc/docker/certs.d`.
    pub cert_dirs: Vec<PathBuf>,
    /// A file of root certificates instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A folder of root certificates beside it.
    pub ca_dir: Option<PathBuf>,
    /// A proxy for hosts that aren't this machine.
    pub proxy: Option<Proxy>,
    /// Who we are to whom.
    pub keyring: Keyring,
    /// Mirrors of Docker Hub, as URLs: asked first and in order.
    pub mirrors: Vec<String>,
    /// Registries (`HOST[:PORT]`) and networks of them (`10.0.0.0/8`) whose certificates aren't
    /// checked, and that may speak http.
    pub insecure_hosts: Vec<String>,
    /// What registries.conf says.
    pub registries: Arc<conf::Registries>,
    /// Hosts that may be sent a registry's password although their domain is another.
    pub trusted_realms: Vec<String>,
    /// Whose images may come in.
    pub trust: Trust,
    /// What stands before our own name when we tell a registry who asks.
    pub user_agent_prefix: Option<String>,
    /// How often a request that failed for a moment is sent again; [`RETRIES`] if `None`.
    pub retries: Option<u32>,
    /// How long is waited before that; each time longer if `None`.
    pub retry_delay: Option<Duration>,
    /// A connection on which next to nothing comes for so long is given up; [`IDLE`] if `None`.
    pub idle: Option<Duration>,
    /// Once it is true, nothing more is read or tried again.
    pub stopped: Option<Arc<AtomicBool>>,
    /// Is told when a registry has us wait.
    pub notice: Option<fn(&str)>,
    /// The docker daemon that `docker-daemon:` means.
    pub daemon: crate::daemon::Host,
    /// Where `containers-storage:` is, if a place doesn't say.
    pub storage: crate::source::Storage,
}

/// How often a request is sent again.
pub const RETRIES: u32 = 4;
/// How long a connection may be silent.
pub const IDLE: Duration = Duration::from_mins(1);

impl Settings {
    /// How long to wait before trying again after so many failures; `None` if there were enough.
    fn pause(&self, failures: u32) -> Option<Duration> {
        let more = failures <= self.retries.unwrap_or(RETRIES) && !self.is_stopped();
        more.then(|| self.retry_delay.unwrap_or_else(|| request::backoff(failures)))
    }

    fn is_stopped(&self) -> bool {
        self.stopped.as_ref().is_some_and(|stopped| stopped.load(Ordering::SeqCst))
    }

    fn idle(&self) -> Duration {
        self.idle.unwrap_or(IDLE).max(Duration::from_millis(1))
    }
}

/// What is asked of a repository; becomes the scope of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
    /// Delete, too.
    All,
}

/// One repository of one registry.
pub struct Client {
    settings: Settings,
    agent: Agent,
    /// For http, where that has another proxy.
    plain: Option<Agent>,
    /// `docker.io`, as in references and credentials.
    domain: String,
    /// `registry-1.docker.io`, as dialled.
    host: String,
    repository: String,
    /// Nothing may be asked there, by this prefix in registries.conf.
    blocked: Option<String>,
    scopes: Mutex<Vec<String>>,
    base: OnceLock<String>,
    auth: Mutex<auth::State>,
    /// A login: an identity token is asked for as well.
    login: bool,
}

impl Client {
    /// A client for a registry as a whole, to log in to it.
    pub(crate) fn of_host(settings: &Settings, domain: &str) -> Result<Self> {
        let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        Self::whole(settings, domain, host)
    }

    /// A client for a registry's index, to search it: Docker Hub's is another host.
    pub(crate) fn of_index(settings: &Settings, domain: &str) -> Result<Self> {
        let host = if domain == "docker.io" { "index.docker.io" } else { domain };
        Ok(Self { login: false, ..Self::whole(settings, domain, host)? })
    }

    fn whole(settings: &Settings, domain: &str, host: &str) -> Result<Self> {
        let mut settings = settings.clone();
        settings.insecure |= settings.registries.insecure_host(domain) && !settings.secure;
        let blocked = settings.registries.blocked_host(domain).map(str::to_owned);
        Ok(Self { blocked, ..Self::at(&settings, domain, host)? })
    }

    fn at(settings: &Settings, domain: &str, host: &str) -> Result<Self> {
        let mut settings = settings.clone();
        settings.insecure |= !settings.secure && insecure::named(&settings.insecure_hosts, host);
        let plain = settings.proxy.as_ref().is_some_and(Proxy::differs);
        Ok(Self {
            agent: agent(&settings, host, true)?,
            plain: plain.then(|| agent(&settings, host, false)).transpose()?,
            settings,
            domain: domain.to_owned(),
            host: host.to_owned(),
            repository: String::new(),
            blocked: None,
            scopes: Mutex::default(),
            base: OnceLock::new(),
            auth: Mutex::default(),
            login: true,
        })
    }

    /// Who asks at a URL.
    fn agent(&self, url: &str) -> &Agent {
        self.plain.as_ref().filter(|_| url.starts_with("http://")).unwrap_or(&self.agent)
    }

    /// `http://host/v2/repository/REST`.
    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base(), self.repository)
    }

    /// `https://host` or `http://host`; found out once.
    fn base(&self) -> &str {
        self.base.get_or_init(|| self.probe())
    }

    /// Which scheme the registry speaks. Only this machine's own registries, and those
    /// named by flag, are ever spoken to without TLS.
    fn probe(&self) -> String {
        let local = url::is_loopback(&self.host);
        let schemes: &[&str] = match () {
            () if self.settings.plain_http => &["http"],
            () if self.settings.secure => &["https"],
            () if self.settings.insecure => &["https", "http"],
            () if local => &["http", "https"],
            () => &["https"],
        };
        let base = |scheme: &str| format!("{scheme}://{}", self.host);
        let unsure = schemes.len() > 1 && self.blocked.is_none();
        for scheme in schemes.iter().filter(|_| unsure) {
            let at = format!("{}/v2/", base(scheme));
            match self.agent(&at).get(&at).call() {
                // Go's TLS servers answer plain http so. A certificate's fault is told then.
                Ok(answer) if *scheme == "http" && answer.status() == 400 => return base("https"),
                Ok(mut answer) => {
                    request::spend(&mut answer, &self.settings);
                    return base(scheme);
                }
                Err(_) => {}
            }
        }
        base(schemes[0])
    }

    /// Another scope for the next token, as for a mount from another repository.
    fn add_scope(&self, scope: String) {
        let mut scopes = self.scopes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !scopes.contains(&scope) {
            scopes.push(scope);
            let mut auth = self.auth.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            auth.forget_token();
        }
    }
}

fn agent(settings: &Settings, host: &str, tls: bool) -> Result<Agent> {
    let proxy = settings.proxy.as_ref().map(|proxy| proxy.before(host, tls));
    let proxy = proxy.transpose()?.flatten();
    let (tls_config, pinned) = tls::config(settings, host)?;
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(user_agent(settings)?)
        .accept_encoding("identity")
        .proxy(proxy)
        .tls_config(tls_config)
        .input_buffer_size(256 << 10)
        .output_buffer_size(256 << 10)
        .timeout_connect(Some(settings.idle().min(Duration::from_secs(20))))
        .timeout_resolve(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(settings.idle()))
        .timeout_per_write(Some(settings.idle()))
        .timeout_recv_response(Some(settings.idle() * 2))
        .build();
    let Some(pinned) = pinned else {
        return Ok(Agent::with_parts(config, DefaultConnector::default(), resolve::Resolver));
    };
    let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
    let connector = connector.chain(pinned).chain(RustlsConnector::default());
    Ok(Agent::with_parts(config, connector, resolve::Resolver))
}

fn user_agent(settings: &Settings) -> Result<String> {
    let own = concat!("dhow-image/", env!("CARGO_PKG_VERSION"));
    let Some(prefix) = &settings.user_agent_prefix else { return Ok(own.to_owned()) };
    if !prefix.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(Error::usage("--user-agent-prefix", prefix, "write printable ASCII"));
    }
    Ok(format!("{prefix} {own}"))
}

impl Error {
    /// Whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Registry { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}
