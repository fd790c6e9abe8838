//! Bounding the memory of an answer: where many units lie over the same time (several captures of
//! one hour), putting their packets in order would hold them all. Such jobs are cut into slices of
//! time; each slice reads its blocks again and keeps only its own packets.

use tapstone_packet::time::Timestamp;

use super::Job;

/// Bytes of units that may lie over one instant.
const OVERLAP_MAX: u64 = 160 << 20;
/// Most slices of one job: each reads the whole job.
const SLICES_MAX: u64 = 64;

/// What matters of a job here.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: Timestamp,
    last: Timestamp,
    bytes: u64,
}

/// Cuts the jobs that need it.
pub(super) fn slice(jobs: Vec<Job>) -> Vec<Job> {
    let spans: Vec<Span> = jobs.iter().map(span).collect();
    let slices = slice_counts(&spans, OVERLAP_MAX);
    let mut sliced = Vec::with_capacity(jobs.len());
    for ((job, span), count) in jobs.into_iter().zip(spans).zip(slices) {
        if count == 1 {
            sliced.push(job);
        } else {
            sliced.extend(cuts(span, job.range, count).into_iter().map(|range| part(&job, range)));
        }
    }
    sliced
}

fn span(job: &Job) -> Span {
    let (first, last) = job.times();
    Span { first, last, bytes: job.bytes() }
}

/// Into how many slices each job must be cut so that what lies over one instant keeps a bound.
fn slice_counts(spans: &[Span], bound: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|index| spans[*index].first);
    let mut heaviest = vec![0; spans.len()];
    let mut active: Vec<usize> = Vec::new();
    for index in order {
        active.retain(|other| spans[*other].last >= spans[index].first);
        active.push(index);
        let bytes: u64 = active.iter().map(|other| spans[*other].bytes).sum();
        for other in &active {
            heaviest[*other] = bytes.max(heaviest[*other]);
        }
    }
    heaviest.into_iter().map(|bytes: u64| bytes.div_ceil(bound).clamp(1, SLICES_MAX)).collect()
}

/// Ranges that cover a job's range and cut its span into equal parts.
fn cuts(span: Span, range: (Timestamp, Timestamp), count: u64) -> Vec<(Timestamp, Timestamp)> {
    let (first, length) = (span.first.attos(), span.last.attos() - span.first.attos());
    let cut = |number: u64| {
        let step = length / i128::from(count);
        Timestamp::from_attos(first + step * i128::from(number))
    };
    let mut ranges = Vec::new();
    let mut start = range.0;
    for number in 1..count {
        let end = cut(number);
        if end > start {
            ranges.push((start, end));
            start = end;
        }
    }
    ranges.push((start, range.1));
    ranges
}

fn part(job: &Job, range: (Timestamp, Timestamp)) -> Job {
    let mut from = job.from;
    from.time = from.time.max(range.0);
    let (target, blocks) = (job.target.clone(), job.blocks.clone());
    Job { target, blocks, range, from, ..*job }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: i64, last: i64, bytes: u64) -> Span {
        let time = |secs| Timestamp::from_secs_nanos(secs, 0);
        Span { first: time(first), last: time(last), bytes }
    }

    #[test]
    fn only_jobs_that_lie_over_many_others_are_cut() {
        let spans = [span(0, 9, 10), span(1, 2, 10), span(1, 5, 10), span(20, 30, 10)];
        assert_eq!(slice_counts(&spans, 10), [3, 3, 3, 1]);
        assert_eq!(slice_counts(&spans, 30), [1; 4]);
    }

    #[test]
    fn slices_cover_everything_once() {
        let all = (Timestamp::MIN, Timestamp::MAX);
        let ranges = cuts(span(0, 10, 1), all, 4);
        assert_eq!(ranges.len(), 4);
        assert_eq!((ranges[0].0, ranges[3].1), all);
        assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
        // Packets of a single instant cannot be told apart by time.
        assert_eq!(cuts(span(5, 5, 1), all, 4).len(), 2);
    }
}
