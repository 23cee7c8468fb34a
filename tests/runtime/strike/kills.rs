//! The runtime, init or both killed at any call: `delete --force` cleans up.

use e2e::bundle::Bundle;
use e2e::{World, needs};

use super::scene::{engine, hooked, mapped};
use super::{Case, What};

const KILLS: [(&str, What); 3] =
    [("kill", What::Kill(1)), ("kill init", What::Kill(2)), ("kill all", What::Kill(-1))];

fn create(w: &World, name: &str, b: &Bundle) {
    Case::makes(name, w, b, &["create", "-b", b.path(), b.id()]).strike(&KILLS);
}

#[test]
fn create_killed_at_any_call_can_be_cleaned_up() {
    needs!(Machine);
    let w = World::new();
    create(&w, "create, plain", &w.bundle("b", &["sleep", "1000"]));
}

#[test]
fn create_with_hooks_killed_at_any_call_can_be_cleaned_up() {
    needs!(Machine);
    let w = World::new();
    create(&w, "create, hooks", &hooked(w.bundle("b", &["sleep", "1000"])));
}

#[test]
fn create_with_users_of_its_own_killed_at_any_call_can_be_cleaned_up() {
    needs!(Machine);
    let w = World::new();
    create(&w, "create, users", &mapped(w.bundle("b", &["sleep", "1000"])));
}

#[test]
fn create_with_a_terminal_killed_at_any_call_can_be_cleaned_up() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]).with("/process/terminal", true.into());
    let socket = engine(&w);
    let words = ["create", "-b", b.path(), "--console-socket", &socket, b.id()];
    Case::makes("create, terminal", &w, &b, &words).strike(&KILLS);
}

#[test]
fn run_killed_at_any_call_can_be_cleaned_up() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "0.01"]);
    Case::makes("run, plain", &w, &b, &["run", "-b", b.path(), b.id()]).strike(&KILLS);
}
