//! What `config.json` and `daemon.json` say of new containers, where the user says nothing.
//! Settings become flags before flags are understood, so that one set of rules checks both.

use super::Flags;
use crate::settings::{Client, Daemon};

/// Fills in what was not typed.
pub fn fill(flags: &mut Flags, client: &Client, daemon: &Daemon) {
    proxies(&mut flags.env, client);
    let usual = |typed: &mut Option<String>, setting: Option<&String>| {
        if typed.is_none() {
            *typed = setting.filter(|text| !text.is_empty()).cloned();
        }
    };
    let size = daemon.default_shm_size.as_ref().map(|size| &size.0);
    usual(&mut flags.files.shm_size, size);
    networks(&mut flags.net.network, daemon);
    usual(&mut flags.isolation.ipc, daemon.default_ipc_mode.as_ref());
    usual(&mut flags.isolation.cgroupns, daemon.default_cgroupns_mode.as_ref());
    usual(&mut flags.limits.cgroup_parent, daemon.cgroup_parent.as_ref());
    rights(flags, daemon);
    for (name, limit) in &daemon.default_ulimits {
        let typed = flags.limits.ulimit.iter();
        let mut names = typed.map(|text| text.split('=').next().unwrap_or(text));
        if !names.any(|typed| typed == name) {
            flags.limits.ulimit.push(format!("{name}={}:{}", limit.soft, limit.hard));
        }
    }
}

/// Where daemon.json has no default network, who would be in it is alone; who asks for it by name is
/// told when it is looked for.
fn networks(typed: &mut Vec<String>, daemon: &Daemon) {
    if daemon.has_bridge() {
        return;
    }
    if typed.is_empty() {
        typed.push("none".to_owned());
    }
    for name in typed.iter_mut().filter(|name| *name == "default") {
        "none".clone_into(name);
    }
}

/// Proxies come before `--env`; who sets one, or takes one away, has the last word.
fn proxies(env: &mut Vec<String>, client: &Client) {
    let mut all = Vec::new();
    for (name, value) in client.proxy_env() {
        let mut typed = env.iter().map(|entry| entry.split('=').next().unwrap_or(entry));
        if !typed.any(|typed| typed == name) {
            all.push(format!("{name}={value}"));
        }
    }
    all.append(env);
    *env = all;
}

fn rights(flags: &mut Flags, daemon: &Daemon) {
    let options = &mut flags.isolation.security_opt;
    let has = |options: &[String], name: &str| options.iter().any(|o| o.starts_with(name));
    if daemon.no_new_privileges && !has(options, "no-new-privileges") {
        options.push("no-new-privileges".to_owned());
    }
    let profile = daemon.seccomp_profile.as_deref().filter(|profile| !profile.is_empty());
    if let Some(profile) = profile
        && !flags.isolation.privileged
        && !has(options, "seccomp")
    {
        options.push(format!("seccomp={profile}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(mut flags: Flags) -> Flags {
        let client = r#"{"proxies": {"default": {"httpProxy": "http://p", "noProxy": "x"}}}"#;
        let daemon = r#"{"default-shm-size": "1m", "default-ipc-mode": "shareable",
            "default-cgroupns-mode": "host", "cgroup-parent": "/up", "no-new-privileges": true,
            "seccomp-profile": "/s.json", "default-ulimits": {"nofile": {"Soft": 1, "Hard": 2}}}"#;
        let client = serde_json::from_str(client).unwrap();
        fill(&mut flags, &client, &serde_json::from_str(daemon).unwrap());
        flags
    }

    #[test]
    fn settings_speak_where_nothing_was_typed() {
        let flags = filled(Flags::default());
        assert_eq!(flags.files.shm_size.as_deref(), Some("1m"));
        assert_eq!(flags.isolation.ipc.as_deref(), Some("shareable"));
        assert_eq!(flags.isolation.cgroupns.as_deref(), Some("host"));
        assert_eq!(flags.limits.cgroup_parent.as_deref(), Some("/up"));
        assert_eq!(flags.limits.ulimit, ["nofile=1:2"]);
        assert_eq!(flags.isolation.security_opt, ["no-new-privileges", "seccomp=/s.json"]);
        let env = ["HTTP_PROXY=http://p", "http_proxy=http://p", "NO_PROXY=x", "no_proxy=x"];
        assert_eq!(flags.env, env);
    }

    #[test]
    fn what_was_typed_wins() {
        let env = vec!["HTTP_PROXY=".to_owned(), "no_proxy".to_owned()];
        let mut flags = Flags { env, ..Flags::default() };
        flags.files.shm_size = Some("2m".to_owned());
        flags.limits.ulimit = vec!["nofile=5".to_owned()];
        flags.isolation.security_opt = vec!["no-new-privileges=false".to_owned()];
        flags.isolation.privileged = true;
        let flags = filled(flags);
        assert_eq!(flags.env, ["http_proxy=http://p", "NO_PROXY=x", "HTTP_PROXY=", "no_proxy"]);
        assert_eq!(flags.files.shm_size.as_deref(), Some("2m"));
        assert_eq!(flags.limits.ulimit, ["nofile=5"]);
        assert_eq!(flags.isolation.security_opt, ["no-new-privileges=false"]);
    }
}
