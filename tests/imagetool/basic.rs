use e2e::World;

#[test]
fn pull_lists_the_image() {
    let w = World::new();
    w.pull("busybox");
    w.image(["list"]).ok().out_has("busybox");
}
