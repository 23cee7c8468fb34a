//! What docker has and dhow refuses, each with its reason. docs/docker.md is the
//! same list for people; nothing is ever parsed and ignored.

const BRIDGE: &str =
    "it comes with bridge networks, which this version lacks; use --network host or none";
const WINDOWS: &str = "it is for Windows containers";

/// Flags of `run` and `create` (long name, short or nothing, reason).
const RUN: &[(&str, &str, &str)] = &[
    (
        "--publish",
        "-p",
        "published ports come with bridge networks, which this version lacks; use --network host",
    ),
    (
        "--publish-all",
        "-P",
        "published ports come with bridge networks, which this version lacks; use --network host",
    ),
    ("--expose", "", BRIDGE),
    ("--link", "", BRIDGE),
    ("--ip", "", BRIDGE),
    ("--ip6", "", BRIDGE),
    ("--link-local-ip", "", BRIDGE),
    ("--mac-address", "", BRIDGE),
    ("--network-alias", "", BRIDGE),
    ("--net-alias", "", BRIDGE),
    ("--dns", "", BRIDGE),
    ("--dns-opt", "", BRIDGE),
    ("--dns-option", "", BRIDGE),
    ("--dns-search", "", BRIDGE),
    ("--cpu-count", "", WINDOWS),
    ("--cpu-percent", "", WINDOWS),
    ("--io-maxbandwidth", "", WINDOWS),
    ("--io-maxiops", "", WINDOWS),
    ("--kernel-memory", "", "the kernel has dropped it"),
    ("--disable-content-trust", "", "docker's content trust was removed"),
    ("--use-api-socket", "", "there is no daemon, so no socket"),
];

/// Flags of other verbs: verb, long name, short, reason.
const OTHERS: &[(&str, &str, &str, &str)] = &[
    ("start", "--checkpoint", "", "checkpoints are not in this version"),
    ("start", "--checkpoint-dir", "", "checkpoints are not in this version"),
    ("rm", "--link", "-l", "there are no links"),
    ("pull", "--all-tags", "-a", "pull the tags you need by name"),
    ("push", "--all-tags", "-a", "push the tags you need by name"),
    ("pull", "--disable-content-trust", "", "docker's content trust was removed"),
    ("push", "--disable-content-trust", "", "docker's content trust was removed"),
    ("push", "--platform", "", "an image in the store has one platform"),
    ("save", "--platform", "", "an image in the store has one platform"),
    ("load", "--platform", "", "an image in the store has one platform"),
    ("rmi", "--platform", "", "an image in the store has one platform"),
    ("rmi", "--no-prune", "", "there are no untagged parents to keep"),
    ("images", "--tree", "", "docker's experiment"),
    ("inspect", "--platform", "", "an image in the store has one platform"),
    ("container prune", "--filter", "", "it comes later; filter with 'dhow ps' and remove by id"),
    ("image prune", "--filter", "", "it comes later; filter with 'dhow images' and remove by id"),
    ("volume ls", "--filter", "-f", "it comes later"),
    ("volume ls", "--cluster", "", SWARM),
    ("volume create", "--driver", "-d", "there are no volume drivers but local"),
    ("volume create", "--opt", "-o", "a local volume is a directory and has no options"),
    ("volume create", "--label", "", "volumes have no labels in this version"),
    ("volume create", "--name", "", "give the name as the argument"),
    ("volume create", "--availability", "", SWARM),
    ("volume create", "--group", "", SWARM),
    ("volume create", "--limit-bytes", "", SWARM),
    ("volume create", "--required-bytes", "", SWARM),
    ("volume create", "--scope", "", SWARM),
    ("volume create", "--secret", "", SWARM),
    ("volume create", "--sharing", "", SWARM),
    ("volume create", "--topology-preferred", "", SWARM),
    ("volume create", "--topology-required", "", SWARM),
    ("volume create", "--type", "", SWARM),
];

const SWARM: &str = "it is part of Swarm, and dhow has one machine and no daemon";
const LATER: &str = "it comes later";
const BUILD: &str = "building images comes later; use buildah or docker build, then 'dhow load'";
const NETWORK: &str =
    "bridge networks come later; containers have --network none, host or container:NAME";
const PLUGIN: &str = "dhow has no plugins";
const CONTEXT: &str = "dhow has no daemon to point at; --root and --run choose a world";

/// Commands: name, reason. A group's reason holds for all in it.
const COMMANDS: &[(&str, &str)] = &[
    ("bake", BUILD),
    ("build", BUILD),
    ("builder", BUILD),
    ("buildx", BUILD),
    ("image build", BUILD),
    ("checkpoint", "checkpoints come later"),
    ("commit", "use 'dhow export NAME | dhow import -' until it comes"),
    ("container commit", "use 'dhow export NAME | dhow import -' until it comes"),
    ("compose", "it comes later"),
    ("config", SWARM),
    ("node", SWARM),
    ("secret", SWARM),
    ("service", SWARM),
    ("stack", SWARM),
    ("swarm", SWARM),
    ("context", CONTEXT),
    ("cp", "use 'dhow exec NAME tar' or 'dhow export NAME' until it comes"),
    ("container cp", "use 'dhow exec NAME tar' or 'dhow export NAME' until it comes"),
    ("diff", LATER),
    ("container diff", LATER),
    ("history", "see 'dhow image inspect' until it comes"),
    ("image history", "see 'dhow image inspect' until it comes"),
    ("manifest", LATER),
    ("network", NETWORK),
    ("plugin", PLUGIN),
    ("port", "published ports come with bridge networks, which this version lacks"),
    ("container port", "published ports come with bridge networks, which this version lacks"),
    ("search", "use your registry's web page"),
    ("system df", LATER),
    ("system prune", "use 'dhow container prune' and 'dhow image prune'"),
    ("system dial-stdio", "there is no daemon to dial"),
    ("volume prune", "use 'dhow volume rm'"),
    ("volume update", SWARM),
    ("trust", "docker's content trust was removed"),
];

/// Why this flag of this verb is refused; nothing when docker hasn't it either.
pub fn flag(verb: &str, flag: &str) -> Option<&'static str> {
    let flag = flag.split('=').next().unwrap_or(flag);
    let last = verb.rsplit(' ').next().unwrap_or(verb);
    if matches!(last, "run" | "create") && !verb.starts_with("volume") {
        let found = RUN.iter().find(|(long, short, _)| *long == flag || *short == flag);
        return found.map(|(_, _, reason)| *reason);
    }
    let verb = match verb {
        "container prune" | "image prune" | "volume ls" | "volume list" | "volume create" => {
            if verb == "volume list" { "volume ls" } else { verb }
        }
        "image ls" | "image list" => "images",
        "image rm" | "image remove" => "rmi",
        "container remove" => "rm",
        _ => last,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_found_by_either_spelling() {
        assert!(flag("run", "-p").is_some());
        assert!(flag("container create", "--publish").is_some());
        assert!(flag("run", "--nope").is_none());
        assert!(flag("image rm", "--no-prune").is_some());
        assert!(flag("volume create", "-o").is_some());
        assert!(command("network ls").is_some());
        assert!(command("nope").is_none());
    }
}
