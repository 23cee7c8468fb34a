//! dhow with other runtimes in dhow-runtime's place.

use e2e::{WITHOUT_V2, World, needs, program};

#[test]
fn runc_runs_under_dhow() {
    let w = World::new();
    w.pull("busybox");
    let script = "echo under runc; exit 5";
    let run = ["run", "--rm", "--runtime", "/usr/sbin/runc", "busybox", "sh", "-c", script];
    w.dhow(run).code(5).out_is("under runc");
}

/// crun refuses hybrid cgroups: it gets a mount namespace without the v2 one.
#[test]
fn crun_runs_under_dhow() {
    needs!(Root);
    let w = World::new();
    w.pull("busybox");
    let run = [
        "run",
        "--rm",
        "--runtime",
        "/usr/bin/crun",
        "busybox",
        "sh",
        "-c",
        "echo under crun; exit 5",
    ];
    w.dhow_cmd(run).under(WITHOUT_V2).run().code(5).out_is("under crun");
}

#[test]
fn runtime_that_is_not_there_is_named() {
    let w = World::new();
    w.pull("busybox");
    let run = ["run", "--rm", "--runtime", "/no/such/runtime", "busybox", "true"];
    w.dhow(run).code(125).err_has("/no/such/runtime");
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn container_lies_in_the_runtime_as_any_other() {
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    let id = w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok().out();
    let state = w.cmd(program("dhow-runtime")).arg("--root").arg(w.run_dir().join("runtime"));
    let state = state.args(["state", &id]).run().ok().json();
    assert_eq!(state["status"], "running");
    w.dhow(["rm", "-f", &name]).ok();
}
