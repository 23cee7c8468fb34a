use super::*;
use proptest::prelude::*;

const LEAST: &str = r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},
    "process":{"args":["sh"],"cwd":"/"},"linux":{"namespaces":[{"type":"mount"}]}}"#;

fn check(text: &str) -> Result<()> {
    container(parse(text)?, "/b").map(drop)
}

fn edited(pointer: &str, value: serde_json::Value) -> String {
    let mut config: serde_json::Value = serde_json::from_str(LEAST).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = value;
    config.to_string()
}

#[test]
fn the_least_config_is_enough() {
    let c = container(parse(LEAST).unwrap(), "/b").unwrap();
    assert_eq!(c.rootfs, c"/b/rootfs".to_owned());
    assert_eq!(c.propagation, (libc::MS_SLAVE, true));
}

#[test]
fn rules_are_named_by_pointer() {
    let cases = [
        ("/ociVersion", "2.0.0".into(), "/ociVersion"),
        ("/ociVersion", "1.4.0".into(), "/ociVersion"),
        ("/root", serde_json::Value::Null, "/root"),
        ("/process", serde_json::Value::Null, "/process"),
        ("/hostname", "x".into(), "/hostname"),
        ("/linux/maskedPaths", serde_json::json!(["a\u{0}b"]), "/linux/maskedPaths/0"),
        ("/linux/sysctl", serde_json::json!({"net.x": "1"}), "/linux/sysctl/net.x"),
        ("/linux/intelRdt", serde_json::json!({"closID": ".."}), "/linux/intelRdt/closID"),
        ("/linux/uidMappings", serde_json::json!([{"size": 1}]), "/linux/uidMappings"),
        ("/mounts", serde_json::json!([{"destination": "", "type": "tmpfs"}]), "/mounts/0"),
        ("/annotations", serde_json::json!({"": "x"}), "/annotations"),
    ];
    for (at, value, pointer) in cases {
        let e = check(&edited(at, value)).unwrap_err().to_string();
        assert!(e.contains(pointer), "{at}: {e}");
    }
}

#[test]
fn unknown_fields_and_nulls_are_ignored() {
    for (at, value) in [
        ("/windows", serde_json::json!({"layerFolders": [""]})),
        ("/linux/resources", serde_json::Value::Null),
        ("/mounts", serde_json::Value::Null),
        ("/hooks", serde_json::Value::Null),
        ("/annotations", serde_json::json!({"a": null})),
        ("/process/somethingNew", serde_json::json!(7)),
        ("/ociVersion", "1.0.2-dev".into()),
        ("/ociVersion", "1.3.0".into()),
    ] {
        check(&edited(at, value)).unwrap();
    }
}

/// oci-spec is the oracle: what it writes, we read, and see the same in it.
#[test]
fn what_oci_spec_writes_is_read_alike() {
    let theirs = oci_spec::runtime::Spec::default();
    let text = serde_json::to_string(&theirs).unwrap();
    let ours = container(parse(&text).unwrap(), "/b").unwrap();
    let process = theirs.process().as_ref().unwrap();
    let args: Vec<_> = ours.process.args.iter().map(|a| a.to_str().unwrap().to_owned()).collect();
    assert_eq!(&args, process.args().as_ref().unwrap());
    assert_eq!(ours.mounts.len(), theirs.mounts().as_ref().unwrap().len());
    let linux = theirs.linux().as_ref().unwrap();
    assert_eq!(ours.masked_paths.len(), linux.masked_paths().as_ref().unwrap().len());
    assert_eq!(ours.readonly_paths.len(), linux.readonly_paths().as_ref().unwrap().len());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,300}") {
        let _ = check(&text);
    }

    #[test]
    fn no_value_in_a_known_place_makes_it_panic(
        place in 0usize..14,
        text in ".{0,40}",
        number in any::<i64>(),
        shape in 0usize..6,
    ) {
        let places = ["/ociVersion", "/root", "/root/path", "/process", "/process/args",
            "/process/user", "/process/rlimits", "/mounts", "/hooks", "/linux",
            "/linux/namespaces", "/linux/devices", "/linux/sysctl", "/linux/seccomp"];
        let value = match shape {
            0 => serde_json::json!(text),
            1 => serde_json::json!(number),
            2 => serde_json::json!([text]),
            3 => serde_json::json!([{"type": text, "path": text, "destination": text}]),
            4 => serde_json::json!({ text.clone(): text }),
            _ => serde_json::Value::Null,
        };
        let _ = check(&edited(places[place], value));
    }

    #[test]
    fn a_cut_config_is_an_error_and_no_panic(cut in 0usize..LEAST.len()) {
        prop_assert!(check(&LEAST[..cut]).is_err());
    }
}
