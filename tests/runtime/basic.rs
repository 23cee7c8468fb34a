use e2e::World;

#[test]
fn run_prints_and_passes_the_exit_code_on() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "echo hello from $(hostname); exit 7"]);
    w.runtime(["run", "-b", b.path(), b.id()]).code(7).out_is("hello from box");
}
