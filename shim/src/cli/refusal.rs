//! What docker has and dhow refuses, each with its reason. docs/docker.md is the
//! same list for people; nothing is ever parsed and ignored.

const WINDOWS: &str = "it is for Windows containers";

/// Flags of `run` and `create` (long name, short or nothing, reason).
const RUN: &[(&str, &str, &str)] = &[
    ("--cpu-count", "", WINDOWS),
    ("--cpu-percent", "", WINDOWS),
    ("--io-maxbandwidth", "", WINDOWS),
    ("--io-maxiops", "", WINDOWS),
    (
        "--use-api-socket",
        "",
        "there is no daemon, so no socket to mount; mount dhow and its --root with --volume",
    ),
];

/// Flags of other verbs: the verb as its group spells it, long name, short, reason.
const OTHERS: &[(&str, &str, &str, &str)] = &[
    ("", "--tls", "", TLS),
    ("", "--tlscacert", "", TLS),
    ("", "--tlscert", "", TLS),
    ("", "--tlskey", "", TLS),
    ("", "--tlsverify", "", TLS),
    ("container start", "--checkpoint", "", CHECKPOINT),
    ("container start", "--checkpoint-dir", "", CHECKPOINT),
    ("image build", "--security-opt", "", SECURITY_OPT),
    (
        "image build",
        "--policy",
        "",
        "policies are asked of a builder; podman's policy.json is heeded",
    ),
    (
        "image ls",
        "--tree",
        "",
        "it shows the platforms of an image, which docker calls experimental; see 'dhow image inspect'",
    ),
    ("network create", "--config-from", "", CONFIGURED),
    ("network create", "--config-only", "", CONFIGURED),
    ("network create", "--ingress", "", SWARM),
    ("network create", "--scope", "", SWARM),
    ("volume ls", "--cluster", "", CLUSTER),
    ("volume create", "--availability", "", CLUSTER),
    ("volume create", "--group", "", CLUSTER),
    ("volume create", "--limit-bytes", "", CLUSTER),
    ("volume create", "--required-bytes", "", CLUSTER),
    ("volume create", "--scope", "", CLUSTER),
    ("volume create", "--secret", "", CLUSTER),
    ("volume create", "--sharing", "", CLUSTER),
    ("volume create", "--topology-preferred", "", CLUSTER),
    ("volume create", "--topology-required", "", CLUSTER),
    ("volume create", "--type", "", CLUSTER),
];

const SWARM: &str = "Swarm is daemons that keep a cluster together, and dhow has no daemon; \
     run containers with 'dhow run', or the cluster with docker or Kubernetes";
const CONFIGURED: &str = "configurations without a network are for Swarm's nodes, and dhow has one machine; \
     give the options with each 'network create'";
const CLUSTER: &str = "cluster volumes are Swarm's, and dhow has one machine; \
     use a local volume with -o type=nfs for shared files";
const TLS: &str = "it secures the way to a daemon, and dhow has none";
const BUILDX: &str = "builders are services beside a daemon, and dhow has neither; \
     'buildx build', 'buildx prune' and 'buildx du' are there, and 'dhow manifest' for lists";
const BAKE: &str = "files of several builds come later; run a 'dhow build' for each target";
const SECURITY_OPT: &str = "RUNs have docker's profile; \
     RUN --security=insecure with --allow security.insecure has none";
const PLUGIN: &str = "plugins are services that a daemon calls, and dhow has none; \
     mount what you need with --volume and --device";
const CONTEXT: &str = "a context points at a daemon, and dhow has none; \
     --root and --run choose a world";
const CHECKPOINT: &str = "docker's checkpoints are kept by an experimental daemon; \
     use 'dhow-runtime checkpoint' on a bundle, or stop and start the container";

/// Commands: name, reason. A group's reason holds for all in it.
const COMMANDS: &[(&str, &str)] = &[
    ("bake", BAKE),
    ("buildx bake", BAKE),
    ("buildx", BUILDX),
    ("checkpoint", CHECKPOINT),
    ("compose", "it comes later"),
    ("config", SWARM),
    ("node", SWARM),
    ("secret", SWARM),
    ("service", SWARM),
    ("stack", SWARM),
    ("swarm", SWARM),
    ("context", CONTEXT),
    ("plugin", PLUGIN),
    ("system dial-stdio", "there is no daemon to dial"),
    ("volume update", CLUSTER),
    ("trust", "docker has removed content trust; compare digests, or use cosign"),
];

/// Why this flag of this verb is refused; nothing when docker hasn't it either.
/// The verb is spelled as in its group, see [`canonical`].
pub fn flag(verb: &str, flag: &str) -> Option<&'static str> {
    let flag = flag.split('=').next().unwrap_or(flag);
    if matches!(verb, "container run" | "container create") {
        let found = RUN.iter().find(|(long, short, _)| *long == flag || *short == flag);
        return found.map(|(_, _, reason)| *reason);
    }
    let found =
        OTHERS.iter().find(|(v, long, short, _)| *v == verb && (*long == flag || *short == flag));
    found.map(|(.., reason)| *reason)
}

/// Why this command is refused.
pub fn command(name: &str) -> Option<&'static str> {
    let group = name.split(' ').next().unwrap_or(name);
    let find = |name: &str| COMMANDS.iter().find(|(n, _)| *n == name).map(|(_, reason)| *reason);
    find(name).or_else(|| find(group))
}

/// Verbs of groups that stand alone as well, by their name alone.
const TWINS: &[(&str, &[&str])] = &[
    (
        "container",
        &[
            "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause",
            "port", "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause",
            "update", "wait",
        ],
    ),
    ("image", &["build", "history", "import", "load", "pull", "push", "save", "tag"]),
    ("system", &["events", "info"]),
];

/// How its group spells a verb: `container ls` for `ps` and `container list`.
pub fn canonical(verb: &str) -> String {
    match verb {
        "ps" | "container ps" | "container list" => "container ls".to_owned(),
        "images" | "image list" => "image ls".to_owned(),
        "rmi" | "image remove" => "image rm".to_owned(),
        "container remove" => "container rm".to_owned(),
        "network list" => "network ls".to_owned(),
        "network remove" => "network rm".to_owned(),
        "volume list" => "volume ls".to_owned(),
        "volume remove" => "volume rm".to_owned(),
        "builder build" | "buildx build" => "image build".to_owned(),
        "buildx prune" => "builder prune".to_owned(),
        "buildx du" => "builder du".to_owned(),
        _ => match TWINS.iter().find(|(_, verbs)| verbs.contains(&verb)) {
            Some((group, _)) => format!("{group} {verb}"),
            None => verb.to_owned(),
        },
    }
}

/// What is refused although the list of docker's tree hasn't it: old spellings, plugins that
/// come with docker, and what newer or older versions have.
#[cfg(test)]
pub fn is_further(name: &str) -> bool {
    const FURTHER: &[&str] = &["buildx", "buildx bake", "compose", "image build --policy", "trust"];
    FURTHER.contains(&name) || name.starts_with(" --tls")
}

/// Every command that is refused, with its reason, for docs and tests.
#[cfg(test)]
pub fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS.iter().copied()
}

/// Every flag that is refused: command, long name, short or nothing, reason.
#[cfg(test)]
pub fn flags() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
    let run = ["container run", "container create"].into_iter();
    run.flat_map(|verb| RUN.iter().map(move |(long, short, why)| (verb, *long, *short, *why)))
        .chain(OTHERS.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_found_by_either_spelling() {
        let flag = |verb: &str, name: &str| flag(&canonical(verb), name);
        assert!(flag("run", "--cpu-count").is_some());
        assert!(flag("container create", "--use-api-socket").is_some());
        assert!(flag("run", "--nope").is_none());
        assert!(command("swarm init").is_some());
        assert!(command("nope").is_none());
        assert_eq!(canonical("container list"), canonical("ps"));
    }
}
