use e2e::World;

#[test]
fn run_prints_and_passes_the_exit_code_on() {
    let w = World::new();
    w.pull("busybox");
    w.dhow(["run", "--rm", "busybox", "sh", "-c", "echo hello; exit 7"]).code(7).out_is("hello");
}
