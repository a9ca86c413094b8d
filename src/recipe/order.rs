//! Whether the steps of a stage can all run: machines keep the order of the file, `after` adds
//! waits across machines, and together they must not go in a circle.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::model::Place;
use super::source::Report;

/// A step, as far as order goes.
#[derive(Debug)]
pub(super) struct Task {
    /// Its id, or else its name.
    pub label: String,
    pub machines: Vec<String>,
    /// Indices of the steps it waits for, and where that is written.
    pub after: Vec<(usize, Place)>,
}

/// Why one step comes after another.
#[derive(Debug, Clone, PartialEq)]
enum Because {
    Waits,
    InFileOn(String),
}

/// Reports every circle of waits once.
pub(super) fn check(tasks: &[Task], report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (i, task) in tasks.iter().enumerate() {
        // A circle must somewhere wait for a step that stands further down, or for itself.
        for (j, at) in task.after.iter().filter(|(j, _)| *j >= i) {
            let Some(path) = shortest_path(tasks, i, *j) else { continue };
            let circle: BTreeSet<usize> = path.iter().map(|(step, _)| *step).collect();
            if seen.insert(circle) {
                report.fault(at, "these steps wait for each other for ever", tell(tasks, &path));
            }
        }
    }
}

/// A step on one of its machines.
type Spot = (usize, String);

/// From where a spot was first reached, and why it follows; none for a start.
type Trail = HashMap<Spot, Option<(Spot, Because)>>;

/// What cannot begin before `step` has ended on `machine`: step, machine, reason.
fn followers(tasks: &[Task], step: usize, machine: &str) -> Vec<(usize, String, Because)> {
    let mut found = Vec::new();
    let runs_here = |task: &Task| task.machines.iter().any(|name| name == machine);
    let next = (step + 1..tasks.len()).find(|next| runs_here(&tasks[*next]));
    found.extend(next.map(|n| (n, machine.to_owned(), Because::InFileOn(machine.to_owned()))));
    for (waiter, task) in tasks.iter().enumerate() {
        if task.after.iter().any(|(awaited, _)| *awaited == step) {
            let each = task.machines.iter().map(|name| (waiter, name.clone(), Because::Waits));
            found.extend(each);
        }
    }
    found
}

/// The shortest chain by which `to` comes after `from`: each step, and why it follows.
fn shortest_path(tasks: &[Task], from: usize, to: usize) -> Option<Vec<(usize, Because)>> {
    let mut came_from = Trail::new();
    let mut queue: VecDeque<Spot> = VecDeque::new();
    for machine in &tasks[from].machines {
        came_from.insert((from, machine.clone()), None);
        queue.push_back((from, machine.clone()));
    }
    while let Some(spot) = queue.pop_front() {
        if spot.0 == to {
            return Some(walk_back(&came_from, spot));
        }
        for (step, machine, because) in followers(tasks, spot.0, &spot.1) {
            let next = (step, machine);
            if !came_from.contains_key(&next) {
                came_from.insert(next.clone(), Some((spot.clone(), because)));
                queue.push_back(next);
            }
        }
    }
    None
}

fn walk_back(came_from: &Trail, end: Spot) -> Vec<(usize, Because)> {
    let mut path = Vec::new();
    let mut spot = end;
    while let Some(Some((earlier, because))) = came_from.get(&spot) {
        path.push((spot.0, because.clone()));
        spot = earlier.clone();
    }
    path.push((spot.0, Because::Waits));
    path.reverse();
    path
}

/// The circle in words, from the step that waits back to itself.
fn tell(tasks: &[Task], path: &[(usize, Because)]) -> String {
    let label = |step: usize| format!("`{}`", tasks[step].label);
    let (first, last) = (path[0].0, path[path.len() - 1].0);
    if first == last {
        return format!("{} waits for itself", label(first));
    }
    let mut said = vec![format!("{} waits for {}", label(first), label(last))];
    let mut end = path.len() - 1;
    while end > 0 {
        let because = &path[end].1;
        let mut start = end - 1;
        // Steps in a row on one machine are told as one.
        while start > 0 && *because != Because::Waits && path[start].1 == *because {
            start -= 1;
        }
        let (later, earlier) = (label(path[end].0), label(path[start].0));
        said.push(match because {
            Because::Waits => format!("{later} waits for {earlier}"),
            Because::InFileOn(machine) => format!("{later} comes after {earlier} on `{machine}`"),
        });
        end = start;
    }
    said.join("; ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn faults(tasks: &[(&str, &[&str], &[usize])]) -> Vec<String> {
        let mut report = Report::default();
        let source = report.admit("x.yaml", "\n".repeat(20).as_bytes()).unwrap();
        let task = |(i, (label, machines, after)): (usize, &(&str, &[&str], &[usize]))| Task {
            label: (*label).to_owned(),
            machines: machines.iter().map(|name| (*name).to_owned()).collect(),
            after: after.iter().map(|j| (*j, source.place(i as u32 + 1, 1))).collect(),
        };
        let tasks: Vec<Task> = tasks.iter().enumerate().map(task).collect();
        check(&tasks, &mut report);
        report.into_faults().0.into_iter().filter_map(|fault| fault.help).collect()
    }

    #[test]
    fn waiting_for_an_earlier_step_or_another_machine_is_fine() {
        let fine: &[(&str, &[&str], &[usize])] = &[
            ("a", &["x"], &[]),
            ("b", &["y"], &[0, 2]),
            ("c", &["x"], &[0]),
            ("d", &["x", "y"], &[1]),
        ];
        assert_eq!(faults(fine), Vec::<String>::new());
    }

    #[test]
    fn a_step_cannot_wait_for_itself_or_for_a_later_one_of_its_machine() {
        assert_eq!(faults(&[("a", &["x"], &[0])]), ["`a` waits for itself"]);
        let later: &[(&str, &[&str], &[usize])] =
            &[("a", &["x"], &[2]), ("b", &["x"], &[]), ("c", &["x"], &[])];
        assert_eq!(faults(later), ["`a` waits for `c`; `c` comes after `a` on `x`"]);
    }

    #[test]
    fn crosswise_waits_are_a_circle_and_told_once() {
        let cross: &[(&str, &[&str], &[usize])] =
            &[("a", &["x"], &[3]), ("b", &["y"], &[2]), ("c", &["x"], &[]), ("d", &["y"], &[])];
        let said = "`a` waits for `d`; `d` comes after `b` on `y`; `b` waits for `c`; \
                    `c` comes after `a` on `x`";
        assert_eq!(faults(cross), [said]);
    }

    #[test]
    fn a_step_on_many_machines_links_them_only_through_waits() {
        let fine: &[(&str, &[&str], &[usize])] =
            &[("a", &["x"], &[2]), ("b", &["x", "y"], &[]), ("c", &["y"], &[])];
        assert_eq!(faults(fine), Vec::<String>::new());
        let stuck: &[(&str, &[&str], &[usize])] = &[("a", &["x"], &[1]), ("b", &["x", "y"], &[])];
        assert_eq!(faults(stuck), ["`a` waits for `b`; `b` comes after `a` on `x`"]);
    }
}
