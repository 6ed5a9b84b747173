//! Readers beside the one executor: each read sees one state, whole, and none older than what was published before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use corollary_engine::eval::View;
use corollary_engine::query::{self, DEFAULT_SCAN_LIMIT, From, Query};
use corollary_engine::{Edit, Engine, EngineOptions, Executor, Key, Transaction, Write, keys, open};
use corollary_schema::{FieldRef, Slot};
use corollary_store::{EmbeddedOptions, EmbeddedStore, Store};
use corollary_value::Value;

const SCHEMA: &str = "
type Bank in banks { accounts: inverse Account.bank, total := sum(self.accounts.balance), least := min(self.accounts.balance), n := count(self.accounts) }
type Account in accounts { bank: link Bank, balance: int index, stamp: int, double := self.balance * 2, seen := self.bank.total }
";

const ACCOUNTS: i64 = 40;
const TOTAL: i64 = ACCOUNTS * 100;

/// What a thread needs to know.
#[derive(Clone)]
struct Names {
    bank: Key,
    account: Vec<Key>,
    slots: [Slot; 3],
    total: Slot,
    least: Slot,
    n: Slot,
    balance: FieldRef,
    link: FieldRef,
    stamp: Slot,
}

fn names(engine: &Engine) -> Names {
    let schema = engine.schema();
    let (bank, account) = (schema.type_named("Bank").unwrap(), schema.type_named("Account").unwrap());
    let of = |ty, name: &str| schema.ty(ty).named(name).unwrap().0;
    Names {
        bank: Key::new(bank, id("b")),
        account: (0..ACCOUNTS).map(|n| Key::new(account, id(&format!("a{n}")))).collect(),
        slots: ["balance", "double", "seen"].map(|name| of(account, name)),
        total: of(bank, "total"),
        least: of(bank, "least"),
        n: of(bank, "n"),
        balance: FieldRef { ty: account, slot: of(account, "balance") },
        link: FieldRef { ty: account, slot: of(account, "bank") },
        stamp: of(account, "stamp"),
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(int) => *int,
        other => panic!("{other:?} is no whole number"),
    }
}

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn set_up(executor: &mut Executor) -> Names {
    let names = names(executor.engine());
    let mut writes = vec![Write::Create(names.bank.clone(), Vec::new())];
    for key in &names.account {
        let values = vec![
            (names.link.slot, reference("b")),
            (names.balance.slot, Value::Int(TOTAL / ACCOUNTS)),
            (names.stamp, Value::Int(0)),
        ];
        writes.push(Write::Create(key.clone(), values));
    }
    executor.commit(&[Transaction { writes }], NOW).unwrap().remove(0).unwrap();
    names
}

/// Transfers, in groups; now and then an account is deleted and another takes its place.
fn run_executor(executor: &mut Executor, names: &Names, stop: &AtomicBool, stamped: &AtomicU64) -> u64 {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut groups = 0;
    while !stop.load(Ordering::Relaxed) {
        groups += 1;
        let mut group = Vec::new();
        for _ in 0..=dice.roll(3) {
            let from = &names.account[dice.roll(ACCOUNTS as u64) as usize];
            let to = &names.account[dice.roll(ACCOUNTS as u64) as usize];
            let by = dice.roll(20) as i64;
            let add = |key: &Key, by: i64| {
                Write::Update(key.clone(), vec![(names.balance.slot, Edit::Increment(Value::Int(by)))])
            };
            let mut writes = vec![add(from, -by), add(to, by)];
            if dice.roll(8) == 0 {
                // Its whole balance moves on to the one that takes its place.
                let key = from.clone();
                let doc = executor.engine().read(NOW, |working| working.after(&key)).unwrap().unwrap();
                let mut values: Vec<(Slot, Value)> = vec![(names.link.slot, reference("b"))];
                values.push((names.balance.slot, doc.get(names.balance.slot).clone()));
                values.push((names.stamp, doc.get(names.stamp).clone()));
                // Alone in its group, so that what was read is what is deleted.
                group.clear();
                group.push(vec![Write::Delete(key.clone()), Write::Create(key, values)]);
                break;
            }
            writes.extend((dice.roll(10) == 0).then(|| Write::Read(to.clone())));
            group.push(writes);
        }
        // The first account tells which group was the last.
        let stamp =
            Write::Update(names.account[0].clone(), vec![(names.stamp, Edit::Set(Value::Int(groups)))]);
        group.push(vec![stamp]);
        let group: Vec<Transaction> = group.into_iter().map(|writes| Transaction { writes }).collect();
        for outcome in executor.commit(&group, NOW).unwrap() {
            outcome.unwrap();
        }
        stamped.store(groups as u64, Ordering::Release);
    }
    groups as u64
}

/// A read could show a commit a moment before it was published, and the next read of the same client the state before it;
/// so each returns the revision that it saw, and the caller holds them to their order.
fn check_state(engine: &Engine, names: &Names, stamped: &AtomicU64, dice: &mut Dice) -> u64 {
    let published = engine.revision();
    let stamp = stamped.load(Ordering::Acquire) as i64;
    let start = dice.roll(ACCOUNTS as u64) as usize;
    let way = dice.roll(4);
    let read = engine.read(NOW, |working| {
        let mut sum = 0;
        let mut seen = Vec::new();
        let mut last = 0;
        // Some reads begin with what is likely not in the cache, others with what is.
        if way == 0 {
            let bank = working.after(&names.bank)?.expect("a bank");
            last = last.max(bank.revision);
        }
        let accounts = if way == 1 {
            working
                .referrers(names.link, &names.bank.id)?
                .into_iter()
                .map(|id| Key::new(names.link.ty, id))
                .collect()
        } else {
            let (left, right) = names.account.split_at(start);
            [right, left].concat()
        };
        assert_eq!(accounts.len(), ACCOUNTS as usize);
        if way == 2 {
            working.prefetch(accounts.iter())?;
        }
        let mut newest_stamp = 0;
        for key in &accounts {
            let doc = working.after(key)?.expect("an account");
            let [balance, double, total] = names.slots.map(|slot| int(doc.get(slot)));
            assert_eq!(double, balance * 2);
            sum += balance;
            seen.push(balance);
            assert_eq!(total, TOTAL);
            newest_stamp = newest_stamp.max(int(doc.get(names.stamp)));
            last = last.max(doc.revision);
        }
        let bank = working.after(&names.bank)?.expect("a bank");
        assert_eq!(sum, TOTAL);
        assert_eq!(int(bank.get(names.total)), TOTAL);
        assert_eq!(int(bank.get(names.n)), ACCOUNTS);
        assert_eq!(int(bank.get(names.least)), *seen.iter().min().unwrap());
        if way == 3 {
            let asked = Query {
                ty: names.balance.ty,
                from: From::Referring(names.link, names.bank.id.clone()),
                filter: None,
                order: Vec::new(),
                limit: usize::MAX,
                after: None,
                scan_limit: DEFAULT_SCAN_LIMIT,
            };
            let page = query::run(working, &asked)?;
            let found: i64 = page.items.iter().map(|item| int(item.doc.get(names.balance.slot))).sum();
            assert_eq!((page.items.len() as i64, found), (ACCOUNTS, TOTAL));
        }
        let revision = working.base.revision();
        assert!(last <= revision, "a document of {last} in a state of {revision}");
        Ok((revision, newest_stamp))
    });
    let (revision, newest_stamp) = read.unwrap();
    assert!(revision >= published, "{revision} was read after {published} had been published");
    assert!(newest_stamp >= stamp, "group {newest_stamp} was read after {stamp} had been acknowledged");
    revision
}

fn run(store: Arc<dyn Store>, cache_bytes: usize, time: Duration) {
    let options = EngineOptions { cache_bytes, ..EngineOptions::default() };
    let mut executor = open(store, SCHEMA, &options, NOW, &mut |_| {}).unwrap();
    let names = set_up(&mut executor);
    let engine = executor.engine().clone();
    let (stop, stamped) = (AtomicBool::new(false), AtomicU64::new(0));
    let (reads, groups) = thread::scope(|scope| {
        let readers: Vec<_> = (1..=4u64)
            .map(|seed| {
                let (engine, names, stop, stamped) = (&engine, &names, &stop, &stamped);
                scope.spawn(move || {
                    let mut dice = Dice(seed * 0x2545_f491_4f6c_dd1d);
                    let (mut reads, mut last) = (0u64, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let revision = check_state(engine, names, stamped, &mut dice);
                        assert!(revision >= last, "a reader does not go back");
                        (reads, last) = (reads + 1, revision);
                    }
                    reads
                })
            })
            .collect();
        let writer = {
            let (executor, names, stop, stamped) = (&mut executor, &names, &stop, &stamped);
            scope.spawn(move || run_executor(executor, names, stop, stamped))
        };
        // A machine that has other things to do takes longer for as many groups.
        let (end, latest) = (Instant::now() + time, Instant::now() + 30 * time);
        let goes_on = |now| now < end || (now < latest && stamped.load(Ordering::Relaxed) <= FEWEST);
        while goes_on(Instant::now()) && !writer.is_finished() && !readers.iter().any(|it| it.is_finished()) {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        let reads: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        (reads, writer.join().unwrap())
    });
    assert!(reads > FEWEST && groups > FEWEST, "{reads} reads beside {groups} groups");
    agree(&Db::new(executor));
}

const TIME: Duration = Duration::from_millis(1_000);

/// More reads and groups than this have to have been there.
const FEWEST: u64 = 20;

#[test]
fn reads_are_whole_in_memory_with_a_small_cache() {
    run(memory(), 16 << 10, TIME);
}

#[test]
fn reads_are_whole_in_memory_with_a_large_cache() {
    run(memory(), 16 << 20, TIME);
}

#[test]
fn reads_are_whole_without_a_cache() {
    run(memory(), 0, TIME);
}

#[test]
fn reads_are_whole_on_disk_with_a_small_cache() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), &keys::KEYSPACES, EmbeddedOptions::default()).unwrap();
    run(Arc::new(store), 16 << 10, TIME);
}

#[test]
fn reads_are_whole_on_disk_with_a_large_cache() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), &keys::KEYSPACES, EmbeddedOptions::default()).unwrap();
    run(Arc::new(store), 16 << 20, TIME);
}

#[test]
fn what_was_written_is_read_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let opened = || {
        let store = EmbeddedStore::open(folder.path(), &keys::KEYSPACES, EmbeddedOptions::default()).unwrap();
        open(Arc::new(store), SCHEMA, &EngineOptions::default(), NOW, &mut |_| {}).unwrap()
    };
    let mut executor = opened();
    let names = set_up(&mut executor);
    let revision = executor.engine().revision();
    drop(executor);
    let executor = opened();
    assert_eq!(executor.engine().revision(), revision);
    check_state(executor.engine(), &names, &AtomicU64::new(0), &mut Dice(7));
    agree(&Db::new(executor));
}
