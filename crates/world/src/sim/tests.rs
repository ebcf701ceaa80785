use super::*;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn file(disk: &SimDisk, path: &str, content: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.open(p(path), OpenMode::CreateNew(0o600)).unwrap();
    file.write_at(content, 0).unwrap();
    file
}

#[test]
fn a_file_and_its_name_need_two_syncs() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", b"hello");
    assert!(!disk.crash_losing_all().exists(p("/a")).unwrap());
    disk.sync_dir(p("/")).unwrap();
    assert_eq!(disk.crash_losing_all().read_file(p("/a")).unwrap(), b"");
    a.sync_data().unwrap();
    assert_eq!(disk.crash_losing_all().read_file(p("/a")).unwrap(), b"hello");
    a.write_at(b"J", 0).unwrap();
    a.set_len(3).unwrap();
    assert_eq!(disk.read_file(p("/a")).unwrap(), b"Jel");
    assert_eq!(disk.crash_losing_all().read_file(p("/a")).unwrap(), b"hello");
    assert_eq!(disk.unsynced().len(), 2);
}

#[test]
fn every_subset_of_unsynced_changes_can_be_had() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", &[1; 1024]);
    a.sync_data().unwrap();
    disk.sync_dir(p("/")).unwrap();
    a.write_at(&[2; 1024], 0).unwrap();
    a.write_at(&[3; 512], 1024).unwrap();
    disk.rename(p("/a"), p("/b")).unwrap();
    let all = disk.unsynced();
    assert_eq!(all.len(), 4, "{all:?}");
    for subset in 0..16 {
        let mut number = 0;
        let after = disk.crash_with(&mut |_| {
            number += 1;
            if subset & (1 << (number - 1)) != 0 {
                Fate::Kept
            } else {
                Fate::Lost
            }
        });
        let name = if subset & 1 != 0 { "/b" } else { "/a" };
        let content = after.read_file(p(name)).unwrap();
        assert_eq!(content[0], if subset & 2 != 0 { 2 } else { 1 });
        assert_eq!(content.len(), if subset & 12 != 0 { 1536 } else { 1024 });
        assert_eq!(content.get(1024).copied().unwrap_or(0), if subset & 8 != 0 { 3 } else { 0 });
    }
}

#[test]
fn writes_are_torn_at_sectors() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", &[1; 2048]);
    a.sync_data().unwrap();
    disk.sync_dir(p("/")).unwrap();
    a.write_at(&[2; 1000], 300).unwrap();
    let after = disk.crash_with(&mut |_| Fate::Sectors(vec![false, true]));
    let content = after.read_file(p("/a")).unwrap();
    assert!(content[..512].iter().all(|b| *b == 1));
    assert!(content[512..1024].iter().all(|b| *b == 2));
    assert!(content[1024..].iter().all(|b| *b == 1));
}

#[test]
fn the_power_goes_at_the_chosen_call() {
    let run = |disk: &SimDisk| -> io::Result<()> {
        let a = disk.open(p("/a"), OpenMode::CreateNew(0o600))?;
        a.write_at(b"one", 0)?;
        a.sync_data()?;
        disk.sync_dir(p("/"))?;
        disk.rename(p("/a"), p("/b"))
    };
    let whole = SimDisk::new();
    run(&whole).unwrap();
    assert_eq!(whole.calls(), 5);
    for call in 1..=5 {
        let disk = SimDisk::new();
        disk.fault_at(call, Fault::PowerCut);
        assert!(run(&disk).is_err());
        assert!(disk.is_off());
        let kept = disk.crash_with(&mut |_| Fate::Kept);
        assert!(!kept.is_off());
        assert_eq!(kept.exists(p("/a")).unwrap(), call < 5);
        assert_eq!(kept.exists(p("/b")).unwrap(), call == 5);
        assert!(!disk.crash_losing_all().exists(p("/b")).unwrap());
    }
}

#[test]
fn a_failed_sync_is_never_made_good() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", b"x");
    disk.sync_dir(p("/")).unwrap();
    disk.fault_at(disk.calls() + 1, Fault::Errno(EIO));
    assert_eq!(a.sync_data().unwrap_err().raw_os_error(), Some(EIO));
    a.sync_data().unwrap();
    assert_eq!(disk.crash_losing_all().read_file(p("/a")).unwrap(), b"");
}

#[test]
fn locks_belong_to_the_handle() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", b"x");
    let b = disk.open(p("/a"), OpenMode::ReadWrite).unwrap();
    assert!(a.try_lock_ofd().unwrap() && a.try_lock_ofd().unwrap());
    assert!(!b.try_lock_ofd().unwrap());
    assert!(b.try_flock(false).unwrap() && a.try_flock(false).unwrap());
    assert!(!b.try_flock(true).unwrap());
    drop(a);
    assert!(b.try_lock_ofd().unwrap() && b.try_flock(true).unwrap());
    let reborn = disk.kill();
    assert!(b.len().is_err());
    assert!(reborn.open(p("/a"), OpenMode::ReadWrite).unwrap().try_lock_ofd().unwrap());
}

#[test]
fn a_killed_process_leaves_its_last_change_unsynced() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", b"x");
    disk.fault_at(disk.calls() + 1, Fault::Kill);
    assert!(disk.rename(p("/a"), p("/b")).is_err());
    assert!(a.write_at(b"y", 0).is_err());
    let next = disk.kill();
    assert_eq!(next.read_file(p("/b")).unwrap(), b"x");
    assert!(!next.is_off() && next.unsynced().len() == 4);
}

#[test]
fn a_map_shows_later_writes_and_growth() {
    let disk = SimDisk::new();
    let a = file(&disk, "/a", &[1; 10]);
    let map = a.map(1 << 20).unwrap();
    assert_eq!(map.slice(0, 10), &[1; 10]);
    a.write_at(&[2; 5000], 5).unwrap();
    assert_eq!(map.slice(4, 3), &[1, 2, 2]);
    a.set_len(3).unwrap();
    a.set_len(10).unwrap();
    assert_eq!(map.slice(0, 10), &[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
#[cfg(panic = "unwind")]
#[should_panic(expected = "SIGBUS")]
fn touching_a_map_beyond_the_file_is_caught() {
    let disk = SimDisk::new();
    let map = file(&disk, "/a", &[1; 10]).map(1 << 20).unwrap();
    map.slice(4096, 1);
}

#[test]
fn space_runs_out() {
    let disk = SimDisk::new();
    disk.set_free_bytes(Some(1100));
    let a = file(&disk, "/a", &[1; 600]);
    let error = a.write_at(&[2; 600], 600).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    assert_eq!(a.len().unwrap(), 1024, "whole sectors");
    a.write_at(&[3; 1100], 0).unwrap();
    a.set_len(0).unwrap();
    a.write_at(&[3; 1100], 0).unwrap();
    assert!(a.set_len(1101).is_err());
}

#[test]
fn folders_come_and_go() {
    let disk = SimDisk::new();
    disk.create_dir_all(p("/x/y"), 0o700).unwrap();
    file(&disk, "/x/y/f", b"1").sync_data().unwrap();
    for dir in ["/", "/x", "/x/y"] {
        disk.sync_dir(p(dir)).unwrap();
    }
    disk.rename(p("/x/y"), p("/z")).unwrap();
    let lost = disk.crash_losing_all();
    assert!(lost.exists(p("/x/y/f")).unwrap() && !lost.exists(p("/z")).unwrap());
    // One change with two sides: never in both places, never in none.
    for seed in 0..50 {
        let after = disk.crash(seed);
        assert_ne!(after.exists(p("/x/y/f")).unwrap(), after.exists(p("/z/f")).unwrap());
    }
    disk.sync_dir(p("/")).unwrap();
    assert!(!disk.crash_losing_all().exists(p("/x/y")).unwrap());
    disk.remove_dir_all(p("/z")).unwrap();
    assert!(!disk.exists(p("/z")).unwrap());
    assert_eq!(disk.list(p("/")).unwrap().len(), 1);
    assert!(disk.crash_losing_all().exists(p("/z/f")).unwrap());
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let disk = SimDisk::new();
    disk.install_file(p("/d/a"), &[7; 4096]).unwrap();
    let a = disk.open(p("/d/a"), OpenMode::ReadWrite).unwrap();
    for i in 0..20 {
        a.write_at(&[i; 700], u64::from(i) * 300).unwrap();
    }
    let mut different = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let one = disk.crash(seed).read_file(p("/d/a")).unwrap();
        assert_eq!(one, disk.crash(seed).read_file(p("/d/a")).unwrap());
        different.insert(one);
    }
    assert!(different.len() > 20);
    disk.rot(p("/d/a"), 5000, 1);
    assert!(disk.crash(1).read_file(p("/d/a")).unwrap().len() >= 4096);
}
