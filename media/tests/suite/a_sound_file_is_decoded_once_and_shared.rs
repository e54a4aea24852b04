//! The cache of decoded files: shared, bounded, fresh.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use hound::{SampleFormat, WavSpec, WavWriter};
use kaphila_media::play::Cache;
use tempfile::TempDir;

fn write(path: &Path, value: i16, samples: usize) {
    let spec = WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(path, spec).unwrap();
    (0..samples).for_each(|_| writer.write_sample(value).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn all_who_ask_at_once_get_the_same_samples() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("prompt.wav");
    write(&path, 7, 800_000);
    let (cache, barrier) = (Cache::new(10_000_000), Barrier::new(8));
    let heard: Vec<_> = thread::scope(|scope| {
        let askers = (0..8).map(|_| {
            scope.spawn(|| {
                barrier.wait();
                cache.get(&path).unwrap()
            })
        });
        let askers: Vec<_> = askers.collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    assert!(heard.iter().all(|audio| Arc::ptr_eq(audio, &heard[0])));
    assert_eq!(cache.bytes(), 1_600_000);
}

#[test]
fn a_file_that_changes_is_decoded_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("prompt.wav");
    let cache = Cache::new(10_000);
    write(&path, 7, 100);
    let first = cache.get(&path).unwrap();
    // Another length.
    write(&path, 8, 101);
    assert_eq!(*cache.get(&path).unwrap(), [8; 101]);
    assert_eq!(cache.bytes(), 202);
    // The same length at another time.
    write(&path, 9, 101);
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(later).unwrap();
    assert_eq!(*cache.get(&path).unwrap(), [9; 101]);
    assert_eq!(cache.bytes(), 202);
    // Who plays the old one keeps it.
    assert_eq!(*first, [7; 100]);
}

#[test]
fn the_bound_holds_and_what_was_used_longest_ago_goes() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let cache = Cache::new(500);
    for (name, value) in [("a", 1), ("b", 2), ("c", 3)] {
        write(&path(name), value, 100);
    }
    let a = cache.get(&path("a")).unwrap();
    let b = cache.get(&path("b")).unwrap();
    assert!(Arc::ptr_eq(&a, &cache.get(&path("a")).unwrap()));
    cache.get(&path("c")).unwrap();
    assert_eq!(cache.bytes(), 400);
    assert!(Arc::ptr_eq(&a, &cache.get(&path("a")).unwrap()));
    assert!(!Arc::ptr_eq(&b, &cache.get(&path("b")).unwrap()));
    // What is larger than the whole is played and not kept, and drives nothing out.
    write(&path("d"), 4, 1_000);
    assert_eq!(cache.get(&path("d")).unwrap().len(), 1_000);
    assert_eq!(cache.bytes(), 400);
}

#[test]
fn a_failure_is_not_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("late.wav");
    let cache = Cache::new(10_000);
    assert!(cache.get(&path).is_err());
    write(&path, 7, 100);
    assert_eq!(*cache.get(&path).unwrap(), [7; 100]);
    fs::remove_file(&path).unwrap();
    assert!(cache.get(&path).is_err());
    assert_eq!(cache.bytes(), 0);
}
