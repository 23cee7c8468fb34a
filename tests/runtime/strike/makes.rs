//! Failures of `create` and `run`: nothing stays, and what goes on is whole.

use super::scene::{hooked, mapped, portrait, rich};
use super::{Case, FAIL};
use e2e::{World, needs};

#[test]
fn run_that_fails_at_any_call_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &portrait());
    Case::makes("run, plain", &w, &b, &["run", "-b", b.path(), b.id()]).strike(&[FAIL]);
}

#[test]
fn run_of_much_that_fails_at_any_call_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let from = w.path("from");
    std::fs::create_dir(&from).unwrap();
    let b = rich(w.bundle("b", &portrait()), &from);
    Case::makes("run, rich", &w, &b, &["run", "-b", b.path(), b.id()]).strike(&[FAIL]);
}

#[test]
fn run_with_users_of_its_own_that_fails_at_any_call_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = mapped(w.bundle("b", &portrait()));
    Case::makes("run, users", &w, &b, &["run", "-b", b.path(), b.id()]).strike(&[FAIL]);
}

#[test]
fn create_with_hooks_that_fails_at_any_call_leaves_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = hooked(w.bundle("b", &["sleep", "1000"]));
    Case::makes("create, hooks", &w, &b, &["create", "-b", b.path(), b.id()]).strike(&[FAIL]);
}
