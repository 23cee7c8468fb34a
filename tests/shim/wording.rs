//! What dhow says: tables, templates, refusals, hints.

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

#[test]
fn ps_has_dockers_columns_templates_and_filters() {
    let w = world();
    let long = "echo this line is longer than twenty";
    w.dhow(["create", "--name", "one", "--label", "k=v", "busybox", "sh", "-c", long]).ok();
    w.dhow(["create", "--name", "two", "busybox", "true"]).ok();
    let table = w.dhow(["ps", "-a"]).ok().lines();
    let head = "CONTAINER ID   IMAGE     COMMAND                  CREATED";
    assert!(table[0].starts_with(head), "{table:?}");
    assert!(table[2].contains("\"sh -c 'echo this li…\""), "{table:?}");
    assert!(table[1].ends_with("two") && table[1].contains("Created"), "newest first: {table:?}");
    let empty = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES";
    w.dhow(["ps"]).ok().out_is(empty);
    let format = "{{.Names}} {{.Label \"k\"}} {{upper .State}}";
    w.dhow(["ps", "-a", "--filter", "label=k", "--format", format]).ok().out_is("one v CREATED");
    w.dhow(["ps", "-a", "--format", "table {{.Names}}\\t{{.Image}}"])
        .ok()
        .out_is("NAMES     IMAGE\ntwo       busybox\none       busybox");
    w.dhow(["ps", "-aq", "--filter", "name=tw", "--no-trunc"]).ok();
    let json = w.dhow(["container", "ls", "-n", "1", "--format", "json"]).ok().out();
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(row["Names"], "two");
    w.dhow(["ps", "--filter", "colour=red"]).code(1).err_has("colour");
    w.dhow(["rm", "one", "two"]).ok().out_is("one\ntwo");
}

#[test]
fn inspect_takes_templates_and_begins_with_the_id() {
    let w = world();
    w.dhow(["create", "--name", "one", "-e", "A=1", "busybox", "true"]).ok();
    let text = w.dhow(["inspect", "one"]).ok().lines();
    assert!(text[2].starts_with("        \"Id\": \""), "{text:?}");
    let state = "{{.State.Status}} {{index .Config.Env 0}} {{json .HostConfig.NetworkMode}}";
    w.dhow(["inspect", "-f", state, "one"]).ok().out_is("created A=1 \"none\"");
    w.dhow(["inspect", "-f", "{{.Nope}}", "one"]).code(1).err_has("Nope");
    w.dhow(["inspect", "-f", "{{.State", "one"]).code(64).err_has("template");
    w.dhow(["inspect", "one", "gone"]).code(1).out_has("\"Id\"").err_has("No such object: gone");
    w.dhow(["rm", "one"]).ok();
}

#[test]
fn what_docker_has_and_dhow_lacks_is_refused_by_name() {
    let w = world();
    for (flag, why) in [
        ("--network=nope", "network nope not found"),
        ("--log-driver=syslog", "json-file"),
        ("--ipc=what", "invalid IPC mode"),
        ("--userns=private", "invalid USER mode"),
    ] {
        w.dhow(["run", flag, "busybox", "true"]).code(125).err_has(why);
    }
    w.dhow(["swarm", "init"]).code(1).err_has("Swarm");
    w.dhow(["run", "--nonsense", "busybox"]).code(125).err_has("unknown flag: --nonsense");
    assert!(w.dhow(["ps", "-aq"]).ok().out().is_empty(), "a refusal leaves nothing");
}

#[test]
fn slips_are_met_with_a_hint() {
    let w = world();
    w.dhow(["create", "--name", "harbour", "busybox"]).ok();
    w.dhow(["strat", "harbour"]).code(1).err_has("did you mean 'start'");
    w.dhow(["start", "harbuor"]).code(1).err_has("did you mean \"harbour\"");
    w.dhow(["run", "--cap-add", "net_admim", "busybox"]).code(125).err_has("CAP_NET_ADMIN");
    w.dhow(["rm"]).code(1).err_has("dhow rm --help");
    w.dhow(["rm", "nothing", "harbour"]).code(1).out_is("harbour").err_has("nothing");
}

#[test]
fn switches_take_values_and_flags_may_follow_names() {
    let w = world();
    w.dhow(["run", "--rm=true", "-it=false", "busybox", "echo", "--rm=x"]).ok().out_is("--rm=x");
    w.dhow(["create", "--name", "one", "busybox"]).ok();
    w.dhow(["container", "rm", "one", "--force=true"]).ok().out_is("one");
}
