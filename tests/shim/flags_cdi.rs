//! Devices by CDI name, and `--gpus`.

use std::fs;

use e2e::{World, needs};

const CAMERA: &str = "\
cdiVersion: 0.8.0
kind: acme.example/camera
containerEdits:
  env: [ACME=yes]
devices:
- name: front
  containerEdits:
    env: [ACME_FRONT=1]
    additionalGids: [4321]
    deviceNodes:
    - path: /dev/cam0
      hostPath: DEVICE
      permissions: r
      fileMode: 0640
    mounts:
    - hostPath: PLACE/lib
      containerPath: /opt/acme
      options: [ro, nosuid, nodev, bind]
    hooks:
    - hookName: createRuntime
      path: /bin/sh
      args: [sh, -c, \"env >PLACE/hook\"]
      env: [ONLY=this]
";

/// The file, with a device that this machine has and containers haven't by themselves.
fn camera(w: &World) -> String {
    let has = |device: &&str| fs::metadata(device).is_ok();
    let device = ["/dev/loop-control", "/dev/fuse", "/dev/net/tun"].into_iter().find(has).unwrap();
    CAMERA.replace("PLACE", &w.path("cdi").display().to_string()).replace("DEVICE", device)
}

/// A world whose daemon.json names a folder of its own for CDI files.
fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    fs::create_dir_all(w.path("cdi")).unwrap();
    let place = w.path("cdi").display().to_string();
    fs::create_dir_all(w.path("cdi/lib")).unwrap();
    fs::write(w.path("cdi/lib/driver"), "driver\n").unwrap();
    fs::write(w.path("cdi/acme.yaml"), camera(&w)).unwrap();
    w.daemon_json(&format!("{{\"cdi-spec-dirs\": [\"{place}\"]}}"));
    w
}

#[test]
fn a_cdi_device_brings_nodes_mounts_variables_groups_and_hooks() {
    needs!(Root);
    let w = world();
    let script = "echo $ACME $ACME_FRONT; id -G; cat /opt/acme/driver; touch /opt/acme/x 2>/dev/null || echo ro; \
        stat -c '%a %F' /dev/cam0; : </dev/cam0 && echo read; (: >/dev/cam0) 2>/dev/null || echo no more";
    for runtime in [&[][..], &["--runtime", "/usr/sbin/runc"]] {
        let run = ["run", "--rm", "--device", "acme.example/camera=front"];
        let command = ["busybox", "sh", "-c", script];
        w.dhow(run.iter().chain(runtime).chain(&command))
            .ok()
            .out_is("yes 1\n0 4321\ndriver\nro\n640 character special file\nread\nno more");
        let hook = fs::read_to_string(w.path("cdi/hook")).unwrap();
        assert!(hook.contains("ONLY=this") && !hook.contains("ACME"), "{hook}");
        fs::remove_file(w.path("cdi/hook")).unwrap();
    }
    // The record keeps the name; the file is read again at each start.
    w.dhow(["create", "--name", "cam", "--device", "acme.example/camera=front", "busybox", "env"])
        .ok();
    let text = fs::read_to_string(w.path("cdi/acme.yaml")).unwrap();
    fs::write(w.path("cdi/acme.yaml"), text.replace("ACME=yes", "ACME=later")).unwrap();
    w.dhow(["start", "-a", "cam"]).ok().out_has("ACME=later");
    let ids = "{{(index .HostConfig.DeviceRequests 0).DeviceIDs}}";
    w.dhow(["inspect", "-f", ids, "cam"]).ok().out_is("[acme.example/camera=front]");
    fs::remove_file(w.path("cdi/acme.yaml")).unwrap();
    w.dhow(["start", "-a", "cam"])
        .code(1)
        .err_has("unresolvable CDI devices acme.example/camera=front");
    w.dhow(["rm", "cam"]).ok();
}

#[test]
fn what_no_file_describes_is_refused_with_what_there_is() {
    let w = world();
    let run = |flag: &str| w.dhow(["run", "--rm", flag, "busybox", "true"]);
    run("--device=acme.example/camera=back")
        .code(125)
        .err_has("CDI device injection failed: unresolvable CDI devices acme.example/camera=back")
        .err_has("acme.example/camera=front");
    run("--gpus=all")
        .code(125)
        .err_has("could not select device driver \"\" with capabilities: [[gpu]]");
    run("--gpus=what").code(125).err_has("invalid count (what)");
    run("--gpus=device=0,count=1").code(125);
    fs::write(w.path("cdi/broken.json"), "{\"cdiVersion\": ").unwrap();
    run("--device=acme.example/camera=back").code(125).err_has("broken.json");
    w.dhow(["ps", "-aq"]).ok().out_is("");
    let gpu = camera(&w).replace("acme.example/camera", "nvidia.com/gpu").replace("front", "all");
    fs::write(w.path("cdi/nvidia.yaml"), gpu).unwrap();
    w.dhow(["run", "--rm", "--gpus", "all", "busybox", "sh", "-c", "echo $ACME"])
        .ok()
        .out_is("yes");
    run("--gpus=device=7").code(125).err_has("nvidia.com/gpu=7");
}
