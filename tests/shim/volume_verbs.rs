//! `volume create|ls|inspect|rm`: flags, filters, docker's words.

use e2e::World;
use serde_json::Value;

#[test]
fn a_volume_keeps_labels_and_options() {
    let w = World::new();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "--opt", "o=size=10m"];
    let labels = ["--label", "a=b", "--label", "c"];
    w.dhow([&["volume", "create"], &options[..], &labels, &["store"]].concat())
        .ok()
        .out_is("store");
    w.dhow(["volume", "create", "store", "--label=x=y"]).ok().out_is("store"); // it stays what it is
    let all: Value =
        serde_json::from_str(&w.dhow(["volume", "inspect", "store"]).ok().out()).unwrap();
    assert_eq!(all[0]["Labels"], serde_json::json!({"a": "b", "c": ""}));
    assert_eq!(all[0]["Options"]["o"], "size=10m");
    assert_eq!(all[0]["Driver"], "local");
    w.dhow(["volume", "create", "plain"]).ok();
    let null = "{{json .Labels}} {{json .Options}} {{.Scope}}";
    w.dhow(["volume", "inspect", "-f", null, "plain"]).ok().out_is("null null local");
    let id = w.dhow(["volume", "create"]).ok().out();
    w.dhow(["volume", "inspect", "-f", "{{json .Labels}}", &id])
        .ok()
        .out_is("{\"com.docker.volume.anonymous\":\"\"}");
    w.dhow(["volume", "create", "--name", "old"]).ok().out_is("old");
    w.dhow(["volume", "create", "--name", "old", "new"]).code(1).err_has("conflicting options");
    w.dhow(["volume", "rm", "store", "plain", &id, "old"]).ok();
}

#[test]
fn options_of_a_volume_are_checked_in_dockers_words() {
    let w = World::new();
    for (option, why) in [
        ("nope=1", "invalid option: \"nope\""),
        ("type=tmpfs", "missing required option: \"device\""),
        ("device=tmpfs", "missing required option: \"type\""),
        ("size=10m", "quota size requested but no quota support"),
    ] {
        w.dhow(["volume", "create", "-o", option, "vol"]).code(1).err_has(why);
    }
    w.dhow(["volume", "create", "-d", "nope", "vol"]).code(1).err_has("plugin \"nope\" not found");
    w.dhow(["volume", "create", "--type", "block", "vol"]).code(125).err_has("cluster volumes");
    w.dhow(["volume", "update", "vol"]).code(1).err_has("cluster volumes");
    assert!(w.dhow(["volume", "ls", "-q"]).ok().out().is_empty(), "a refusal leaves nothing");
}

#[test]
fn volumes_are_listed_by_filters_and_templates() {
    let w = World::new();
    w.pull("busybox");
    w.dhow(["volume", "create", "--label", "a=b", "one"]).ok();
    w.dhow(["volume", "create", "two"]).ok();
    w.dhow(["create", "--name", "cc", "-v", "two:/x", "busybox"]).ok();
    w.dhow(["volume", "ls"]).ok().out_is("DRIVER    VOLUME NAME\nlocal     one\nlocal     two");
    let q = |filter: &str| w.dhow(["volume", "ls", "-q", "--filter", filter]).ok().out();
    assert_eq!(q("dangling=true"), "one");
    assert_eq!(q("dangling=false"), "two");
    assert_eq!(q("label=a"), "one");
    assert_eq!(q("label=a=c"), "");
    assert_eq!(q("name=tw"), "two");
    assert_eq!(q("driver=local"), "one\ntwo");
    assert_eq!(q("driver=nfs"), "");
    w.dhow(["volume", "ls", "-f", "colour=red"]).code(1).err_has("invalid filter 'colour'");
    w.dhow(["volume", "ls", "-f", "dangling=x"]).code(1).err_has("invalid filter 'dangling=[x]'");
    let format = "table {{.Name}}\\t{{.Links}}\\t{{.Status}}";
    w.dhow(["volume", "ls", "--filter", "name=one", "--format", format])
        .ok()
        .out_is("VOLUME NAME   LINKS     STATUS\none           N/A       N/A");
    w.dhow(["volume", "ls", "--format", "{{.Label \"a\"}}", "-f", "name=one"]).ok().out_is("b");
    let row = w.dhow(["volume", "ls", "--format", "json", "-f", "name=one"]).ok().out();
    let row: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row["Labels"], "a=b");
    assert_eq!(row["Availability"], "N/A");
    let id = w.dhow(["ps", "-aq", "--no-trunc"]).ok().out();
    w.dhow(["volume", "rm", "two"]).code(1).err_has(&format!("volume is in use - [{id}]"));
    w.dhow(["volume", "rm", "none"]).code(1).err_has("get none: no such volume");
    w.dhow(["volume", "rm", "-f", "none"]).ok().out_is("none");
    w.dhow(["rm", "cc"]).ok();
    w.dhow(["volume", "rm", "one", "two"]).ok();
}
