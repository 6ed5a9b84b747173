//! The short form: every file of every corpus, and some changes of each.

use corollary_fuzz::{corpus, run, targets};

/// How often as many are tried.
fn times() -> u64 {
    std::env::var("COROLLARY_FUZZ_TIMES").map_or(1, |times| times.parse().expect("a number"))
}

#[test]
fn nothing_in_the_corpora_and_near_them_goes_wrong() {
    let mut kinds = 0;
    for target in targets::ALL {
        let files =
            corpus(target.name).unwrap_or_else(|error| panic!("the corpus of {}: {error}", target.name));
        assert!(files.len() > 1, "the corpus of {} is too small", target.name);
        let inputs: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
        let most = inputs.len() as u64 + target.short * times();
        let ran = run::many(&target, &inputs, 1, &mut |_| {}, &mut |tried| tried < most);
        if let Some(finding) = ran.finding {
            let small = run::shrink(&target, finding);
            panic!(
                "{}: {}: {:?} ({:?})",
                target.name,
                small.what,
                small.input,
                String::from_utf8_lossy(&small.input)
            );
        }
        assert!(ran.outcomes > 1, "all inputs of {} come out alike", target.name);
        kinds += ran.outcomes;
    }
    assert!(kinds > 100, "{kinds}");
}

#[test]
fn the_corpora_are_those_of_the_targets_and_small() {
    let folders = std::fs::read_dir(corollary_fuzz::home().join("corpus")).expect("corpora");
    let mut bytes = 0;
    for folder in folders {
        let name = folder.expect("a folder").file_name().to_string_lossy().into_owned();
        assert!(targets::named(&name).is_some(), "{name} is the corpus of no target");
        bytes += corpus(&name).expect("a corpus").iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(bytes < 500_000, "{bytes}");
}
