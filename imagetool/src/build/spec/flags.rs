//! The flags themselves, as clap reads them and as help shows them: the same for both programs.

use std::path::PathBuf;

use clap::Args;

/// What was typed; nothing is resolved.
#[derive(Clone, Debug, Default, Args)]
pub struct Typed {
    /// The context: a directory, a URL of a git repository or of an archive, or - for stdin
    #[arg(value_name = "PATH | URL | -", required = true)]
    pub context: String,
    /// The Dockerfile (default: PATH/Dockerfile), or - for stdin
    #[arg(short, long)]
    pub file: Option<String>,
    /// Name of the image, NAME[:TAG] (repeatable)
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<String>,
    /// Value of an ARG, NAME=VALUE, or NAME for the caller's own
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub build_arg: Vec<String>,
    /// Further context, NAME=PATH, NAME=docker-image://IMAGE, NAME=oci-layout://DIR or NAME=URL
    #[arg(long, value_name = "NAME=WHERE")]
    pub build_context: Vec<String>,
    /// The stage to build
    #[arg(long, default_value_t, hide_default_value = true)]
    pub target: String,
    /// os/arch[/variant] to build for
    #[arg(long)]
    pub platform: Option<String>,
    /// Metadata of the image, KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub label: Vec<String>,
    /// Annotation of the image's manifest, KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub annotation: Vec<String>,

    /// Run every step anew
    #[arg(long)]
    pub no_cache: bool,
    /// Run the steps of these stages anew
    #[arg(long, value_name = "STAGE")]
    pub no_cache_filter: Vec<String>,
    /// Ask registries for newer base images
    #[arg(long)]
    pub pull: bool,
    /// Where results of earlier builds may come from: IMAGE, type=registry,ref=IMAGE or type=local,src=DIR
    #[arg(long, value_name = "CACHE")]
    pub cache_from: Vec<String>,
    /// Where this build's results go: type=inline, type=registry,ref=IMAGE or type=local,dest=DIR (mode=max: of all stages)
    #[arg(long, value_name = "CACHE")]
    pub cache_to: Vec<String>,

    /// Network of RUNs: default, none, host or another
    #[arg(long, default_value = "default", value_name = "MODE")]
    pub network: String,
    /// Extra line of RUNs' /etc/hosts, NAME:IP or NAME:host-gateway
    #[arg(long, value_name = "NAME:IP")]
    pub add_host: Vec<String>,
    /// What RUNs may see without it being kept: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// SSH agent that RUNs may ask: default, or NAME=SOCKET
    #[arg(long, value_name = "AGENT")]
    pub ssh: Vec<String>,
    /// What RUNs may ask for: network.host, security.insecure
    #[arg(long, value_name = "RIGHT")]
    pub allow: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub limits: LimitFlags,

    /// Where the result goes: DIR, - or type=local|tar|oci|docker|image|registry,dest=…
    #[arg(short, long, value_name = "OUTPUT")]
    pub output: Vec<String>,
    /// Push the image under its names
    #[arg(long)]
    pub push: bool,
    /// Keep the image in the store, whatever else is done with it
    #[arg(long)]
    pub load: bool,
    /// One layer of all that is new
    #[arg(long)]
    pub squash: bool,
    /// When all was made, in seconds since 1970; newer files are of then (default SOURCE_DATE_EPOCH)
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub timestamp: Option<String>,
    /// File for the image's id
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// File for what the build came to, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// How progress is shown: auto, plain, tty, quiet, rawjson
    #[arg(long, default_value = "auto", value_name = "MODE")]
    pub progress: String,
    /// What to do: build, check, outline or targets
    #[arg(long, default_value = "build", value_name = "WHAT")]
    pub call: String,
    /// Check the Dockerfile, and build nothing
    #[arg(long)]
    pub check: bool,

    /// Attestations can only be turned off: type=provenance,disabled=true
    #[arg(long, value_name = "SPEC", hide = true)]
    pub attest: Vec<String>,
    /// Provenance can only be turned off: false
    #[arg(long, value_name = "SPEC", hide = true)]
    pub provenance: Option<String>,
    /// An SBOM can only be turned off: false
    #[arg(long, value_name = "SPEC", hide = true)]
    pub sbom: Option<String>,
    /// There is one builder: default
    #[arg(long, value_name = "NAME", hide = true)]
    pub builder: Option<String>,
}

/// How much of the machine RUNs may use.
#[derive(Clone, Debug, Default, Args)]
pub struct LimitFlags {
    /// Memory of a RUN (b, k, m, g)
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Memory and swap together (-1: any amount of swap)
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub memory_swap: Option<String>,
    /// Relative CPU weight (1024 is normal)
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_shares: Option<i64>,
    /// CFS period in microseconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_period: Option<i64>,
    /// CFS quota in microseconds per period
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// CPUs that may be used, as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Size of /dev/shm (64m)
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// Resource limit NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
    /// cgroup under which those of RUNs are made
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// A limit as KEY=VALUE: memory=2g, cpu-quota=50000
    #[arg(long, value_name = "KEY=VALUE")]
    pub resource: Vec<String>,
}
