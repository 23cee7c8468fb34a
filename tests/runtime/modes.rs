//! Some of the runtime's and dhow's cases inside guests, in each of the four modes; all of them by
//! `make guests` (`tests/guest/run.sh`).

use e2e::{World, fixtures, needs, program, workspace};

/// What is tried of each mode: what depends on who makes the groups, and on who asks.
const CASES: [&str; 14] = [
    "runtime::lifecycle::states_follow_the_specification",
    "runtime::lifecycle::delete_force_ends_a_running_container_and_forgives_an_unknown_one",
    "runtime::exec::exec_of_a_process_file",
    "runtime::change::",
    "runtime::limits::",
    "shim::exec::exec_output_exit_code_and_flags",
    "shim::lifecycle::created_started_ended_started_again",
    "shim::limits::pause_freezes_and_unpause_thaws_in_dockers_words",
    "shim::limits::update_changes_what_runs_and_what_will_run",
    "shim::flags_limits::cpus_memory_and_processes_are_limited",
    "shim::restart::on_failure_counts_and_success_is_no_failure",
    "shim::terminal::end_of_input_ends_the_shell_and_settings_come_back",
    "shim::volumes::a_named_volume_gets_the_images_files_once_and_outlives_its_containers",
    "build::stages::images_and_named_contexts_are_copied_from",
];

/// What guests can't make themselves: `tests/guest/run.sh` calls this before each.
#[test]
#[ignore = "makes fixtures, and is no case"]
fn what_guests_are_given() {
    for made in [fixtures::busybox_root(), fixtures::layout(), fixtures::archives()] {
        assert!(made.is_dir());
    }
    assert!(fixtures::mirror_layout().is_dir());
}

fn run_in(mode: &str) {
    let w = World::new();
    let bin = program("dhow-runtime").parent().unwrap().to_owned();
    let done = w
        .cmd(workspace().join("tests/guest/run.sh"))
        .arg(mode)
        .args(CASES)
        .env("E2E", std::env::current_exe().unwrap())
        .env("DHOW_BIN_DIR", bin)
        .env("DHOW_FIXTURES", fixtures::folder())
        .env("GUEST_LIMIT", "500")
        // They wait more than they work.
        .env("DHOW_E2E_THREADS", "2")
        .limit(520)
        .run()
        .ok();
    let told = format!("\n{mode}: ");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let counts = text.rsplit(&told).next().unwrap();
    let passed: u32 = counts.split(' ').next().unwrap().parse().unwrap();
    assert!(passed >= 14 && counts.contains(" 0 failed"), "{done}");
}

#[test]
fn plain() {
    needs!(Guests);
    run_in("plain");
}

#[test]
fn systemd() {
    needs!(Guests);
    run_in("systemd");
}

#[test]
fn rootless() {
    needs!(Guests);
    run_in("rootless");
}

#[test]
fn rootless_systemd() {
    needs!(Guests);
    run_in("rootless-systemd");
}
