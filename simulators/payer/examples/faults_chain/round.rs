//! What happens in a round.

use std::time::Duration;

use stencil_devchain::Faults;

use crate::chance::Chance;
use crate::subject::Subject;
use crate::world::{DEEPEST, World};

/// How long the process is let see what there is.
const SEE: Duration = Duration::from_millis(400);
/// Problems that are told; there may be as many as there are payments.
const MAX_PROBLEMS: usize = 40;

/// Counts over all rounds.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) reorgs: u32,
    pub(crate) deepest: u64,
    pub(crate) kills: u32,
    pub(crate) faulty: u32,
    pub(crate) again: u32,
    pub(crate) problems: Vec<String>,
}

impl Tally {
    /// Problems of a round; of round 0: at the end.
    pub(crate) fn take(&mut self, round: u32, problems: Vec<String>) {
        for problem in problems {
            if self.problems.len() < MAX_PROBLEMS {
                self.problems.push(match round {
                    0 => format!("at the end: {problem}"),
                    round => format!("round {round}: {problem}"),
                });
            }
        }
    }
}

/// Payments, blocks, other branches, failing endpoints and kills; at the end all is quiet and sound.
pub(crate) async fn play(
    world: &mut World,
    subject: &mut Subject,
    mut chance: Chance,
    tally: &mut Tally,
) {
    world.begin_round();
    if chance.percent(75) {
        world.set_faults([faults(&mut chance), faults(&mut chance)]);
        tally.faulty += 1;
    }
    subject.start(crash_point(chance.fork(), subject.points()));
    // So that there is something to replace.
    for _ in 0..chance.between(0, DEEPEST) {
        let which = chance.fork();
        if chance.percent(40) {
            subject.pay(world, which).await;
        }
        world.mine(1);
    }
    for _ in 0..chance.between(6, 12) {
        // Where the process is meanwhile is left to chance.
        tokio::time::sleep(Duration::from_millis(chance.between(0, 60))).await;
        if chance.percent(40) {
            subject.see(world, SEE).await;
        }
        let mut act = chance.fork();
        match act.between(0, 99) {
            0..40 => {
                for _ in 0..act.between(1, 3) {
                    subject.pay(world, act.fork()).await;
                }
            }
            40..62 => world.mine(act.between(1, 3)),
            62..84 => {
                tally.deepest = tally.deepest.max(world.reorganise(act.fork()));
                tally.reorgs += 1;
                tally.again += world.send_again(act, 30);
            }
            84..87 => world.drop_connections(),
            _ => {
                tally.kills += u32::from(subject.kill());
                subject.start(crash_point(act, subject.points()));
            }
        }
        let next = chance.fork();
        if subject.has_ended() {
            subject.start(crash_point(next, subject.points()));
        }
    }
    if chance.percent(30) {
        tally.kills += u32::from(subject.kill());
    }
    world.set_faults([Faults::default(), Faults::default()]);
    // Some are lost for good.
    tally.again += world.send_again(chance, 60);
    world.end_round();
    subject.start(None);
}

/// Where the process dies by itself, and at which of the times that it comes by there.
fn crash_point(mut chance: Chance, points: &[&str]) -> Option<String> {
    let point = points[chance.between(0, points.len() as u64 - 1) as usize];
    let times = chance.between(1, 5);
    chance.percent(50).then(|| format!("{point}:{times}"))
}

fn faults(chance: &mut Chance) -> Faults {
    let mut some = |most: u64| {
        let permille = chance.between(0, most);
        if chance.percent(35) { permille } else { 0 }
    };
    Faults {
        lag_blocks: some(4),
        missing_logs_permille: some(150) as u16,
        wrong_hash_permille: some(60) as u16,
        older_state_permille: some(120) as u16,
        older_state_blocks: some(12),
        close_permille: some(60) as u16,
        hang_permille: some(15) as u16,
        hang_ms: 500,
        too_many_permille: some(80) as u16,
        unavailable_permille: some(80) as u16,
        half_answer_permille: some(60) as u16,
        silent_permille: some(100) as u16,
        skip_head_permille: some(200) as u16,
        cut_socket_permille: some(100) as u16,
        seed: some(u64::MAX - 1),
    }
}
