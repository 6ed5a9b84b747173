//! What the program is told when it is started.

use corollary_server::cli::understood;

use super::outcome;

/// The arguments, a line for each. What the environment says takes the way of the option that it stands for.
pub fn settings(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let arguments: Vec<String> = text.lines().take(40).map(str::to_owned).collect();
    match understood(&arguments) {
        Ok((said, place)) => {
            // An option and its value may stand together or apart.
            let apart = arguments.iter().flat_map(|argument| match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") && !value.starts_with('-') => {
                    vec![name.to_owned(), value.to_owned()]
                }
                _ => vec![argument.clone()],
            });
            let apart: Vec<String> = apart.collect();
            if !arguments.iter().any(|argument| argument == "--") {
                assert_eq!(understood(&apart).map(|(said, _)| said).as_ref(), Ok(&said), "{apart:?}");
            }
            // Where the data is stands in messages: never with what a database is opened with.
            let secret = arguments.iter().filter_map(|argument| argument.strip_prefix("--store="));
            for secret in secret.filter(|secret| secret.contains("://")) {
                assert!(place.as_ref().is_some_and(|place| !place.contains(secret)), "{place:?}");
            }
            outcome((said.split([' ', '{']).next(), place.is_some(), said.len() / 64))
        }
        Err(why) => {
            assert!(!why.trim().is_empty(), "{arguments:?}");
            outcome(why.lines().next().map(|line| line.split('\'').next().unwrap_or_default().to_owned()))
        }
    }
}
