//! `--platform A,B`: an image each, and a list of them.

use std::fs;

use e2e::{Registry, World, needs};

const BOTH: &str = "linux/amd64,linux/arm64";

/// Made here, for both: what is compiled so needs no emulator.
const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETARCH BUILDPLATFORM TARGETPLATFORM
RUN echo on $BUILDPLATFORM for $TARGETPLATFORM > /what; echo $TARGETARCH > /arch
FROM scratch
COPY --from=build /what /arch /
";

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

#[test]
fn a_build_for_two_platforms_is_a_list_that_travels() {
    needs!(Machine);
    let w = world();
    let dir = w.context("c", &[("Dockerfile", CROSS)]);
    let out = w.path("out");
    let local = format!("type=local,dest={}", out.display());
    let name = Registry::open().name("both:1");
    let meta = w.path("meta.json");
    let flags = ["--platform", BOTH, "-t", &name, "-o", "type=image,push=true", "-o", &local];
    let meta_flag = ["--metadata-file", meta.to_str().unwrap()];
    let done = w.build(&dir, &[&flags[..], &meta_flag].concat()).ok();
    done.err_has("[linux/amd64 build 2/2] RUN").err_has("[linux/arm64 build 2/2] RUN");
    for (arch, place) in [("amd64", "linux_amd64"), ("arm64", "linux_arm64")] {
        let read = |file: &str| fs::read_to_string(out.join(place).join(file)).unwrap();
        assert_eq!(read("arch").trim(), arch);
        assert_eq!(read("what").trim(), format!("on linux/amd64 for linux/{arch}"));
    }
    // In the store it is this machine's; in the registry, and from there, it is both.
    assert_eq!(w.inspect(&name)["Architecture"], "amd64");
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(meta).unwrap()).unwrap();
    let raw = w.image(["inspect", "--raw", &format!("docker://{name}")]).ok().json();
    let all: Vec<_> = raw["manifests"].as_array().unwrap().iter().collect();
    let platforms: Vec<_> = all.iter().map(|m| m["platform"]["architecture"].as_str()).collect();
    assert_eq!(platforms, [Some("amd64"), Some("arm64")]);
    assert_eq!(meta["containerimage.descriptor"]["mediaType"], raw["mediaType"]);
    w.image(["verify"]).ok();
    // A second time nothing is run, and it is the same list; the other order is another list.
    let file = w.path("id");
    let id = || fs::read_to_string(&file).unwrap();
    let again = |both: &str| {
        let flags = ["--platform", both, "-t", "again", "--iidfile", file.to_str().unwrap()];
        let done = w.build(&dir, &flags).ok().err();
        assert!(done.contains("CACHED"), "{done}");
        id()
    };
    let first = again(BOTH);
    assert_eq!(first, again(BOTH));
    assert_eq!(first, meta["containerimage.digest"].as_str().unwrap());
    assert_ne!(first, again("linux/arm64,linux/amd64"));
}

#[test]
fn a_list_that_was_built_is_a_base_for_all_its_platforms() {
    let w = world();
    w.build(&w.context("c", &[("Dockerfile", CROSS)]), &["--platform", BOTH, "-t", "base"]).ok();
    let text = "FROM base\nCOPY Dockerfile /\n";
    let dir = w.context("d", &[("Dockerfile", text)]);
    let out = w.path("out");
    let local = format!("type=local,dest={}", out.display());
    w.build(&dir, &["--platform", BOTH, "-o", &local]).ok();
    w.build(&dir, &["--platform", "linux/arm64", "-t", "arm"]).ok();
    for place in ["linux_amd64", "linux_arm64"] {
        let arch = fs::read_to_string(out.join(place).join("arch")).unwrap();
        assert_eq!(format!("linux_{}", arch.trim()), place);
        assert!(out.join(place).join("Dockerfile").exists());
    }
    assert_eq!(w.inspect("arm")["Architecture"], "arm64");
    // Without one for this machine, it is shown by its first.
    w.build(
        &w.context("e", &[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")]),
        &["--platform", "linux/riscv64,linux/arm64", "-t", "far"],
    )
    .ok();
    assert_eq!(w.inspect("far")["Architecture"], "riscv64");
    w.dhow(["images"]).ok().out_has("far");
    w.dhow(["rmi", "far", "base", "arm"]).ok();
    w.image(["gc"]).ok();
    w.image(["verify"]).ok();
}

#[test]
fn what_needs_an_emulator_says_so() {
    let w = world();
    // An ELF of arm64 without anything in it.
    let mut elf = vec![0; 64];
    elf[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0");
    let dir =
        w.context("c", &[("Dockerfile", "FROM scratch\nCOPY --chmod=755 sh /bin/\nRUN true\n")]);
    fs::write(dir.join("sh"), elf).unwrap();
    w.build(&dir, &["--platform", "linux/arm64"])
        .code(1)
        .err_has("it is for linux/arm64; register an emulator with binfmt_misc")
        .err_has("Dockerfile:3");
}
