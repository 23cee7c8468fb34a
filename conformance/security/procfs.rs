//! What the runtime writes to /proc for the container, and where that goes.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::bundle::Bundle;
use serde_json::json;

use crate::scene::{Scene, Verdict, bind};

/// Starts with a file over a file of /proc, straight and by links of the image, one of them swapped
/// for a whole directory; none may be written to.
fn fakes(s: &Scene, dir: &str, file: &str, ask: impl Fn(Bundle) -> Bundle) -> Verdict {
    let fake = s.w.path("fake");
    fs::create_dir_all(fake.join(dir)).unwrap();
    let over = fake.join(dir).join(file);
    let ways = [
        ("straight", format!("/proc/{dir}/{file}"), over.clone(), None),
        ("by-link", format!("/way/{file}"), over.clone(), Some(format!("/proc/{dir}"))),
        ("directory", format!("/proc/{dir}"), fake.join(dir), None),
        ("whole", "/proc".to_owned(), fake.clone(), None),
        ("whole-by-link", "/way".to_owned(), fake.clone(), Some("/proc".to_owned())),
    ];
    for (name, place, source, link) in ways {
        fs::write(&over, "").unwrap();
        let b = s.another(name, &["true"]).and("/mounts", bind(&source, &place));
        if let Some(link) = link {
            symlink(link, b.rootfs("way")).unwrap();
        }
        let b = ask(b);
        s.run(&b);
        s.delete(&b);
        let written = fs::read_to_string(&over).unwrap();
        if !written.is_empty() {
            return Verdict::Flawed(format!("{place}: the file got {written:?}"));
        }
    }
    Verdict::Safe
}

/// Of both kinds of label; where neither kind of module is, a start that fails is right, too.
pub fn label(s: &Scene) -> Verdict {
    for (name, field, label) in [
        ("self", "/process/apparmorProfile", "docker-default"),
        ("self", "/process/selinuxLabel", "system_u:system_r:container_t:s0"),
        ("thread-self", "/process/selinuxLabel", "system_u:system_r:container_t:s0"),
    ] {
        let dir = format!("{name}/attr");
        let verdict = fakes(s, &dir, "exec", |b| b.with(field, json!(label)));
        for bundle in ["straight", "by-link", "directory", "whole", "whole-by-link"] {
            let _ = fs::remove_dir_all(s.w.path(format!("bundle-{bundle}")));
        }
        if verdict != Verdict::Safe {
            return verdict;
        }
    }
    Verdict::Safe
}

pub fn sysctl(s: &Scene) -> Verdict {
    fakes(s, "sys/net/ipv4", "ip_default_ttl", |b| {
        b.with("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}))
    })
}
