//! Grouping a unit's packets by flow, and remembering the order in which they came.

use tapstone_packet::time::TimeScale;

use super::batch::Record;

/// The packets' indices ordered by flow; flows in order of appearance, packets of a flow in order
/// of arrival. `flow_of` is each packet's flow, numbered from 0 within the unit.
pub(crate) fn by_flow(flow_of: &[u32], flows: usize, order: &mut Vec<u32>) {
    let mut next = vec![0u32; flows + 1];
    for flow in flow_of {
        next[*flow as usize + 1] += 1;
    }
    for flow in 1..next.len() {
        next[flow] += next[flow - 1];
    }
    order.clear();
    order.resize(flow_of.len(), 0);
    for (packet, flow) in flow_of.iter().enumerate() {
        let at = &mut next[*flow as usize];
        order[*at as usize] = packet as u32;
        *at += 1;
    }
}

/// Each packet's rank: ascending with arrival among packets of the same time. Small numbers where
/// times never go back, and simply the order of arrival where they do.
pub(crate) fn ranks(records: &[Record], ranks: &mut Vec<u32>) {
    ranks.clear();
    if !records.is_sorted_by_key(|record| record.time) {
        ranks.extend(0..records.len() as u32);
        return;
    }
    let mut rank = 0;
    for (index, record) in records.iter().enumerate() {
        let same = index > 0 && records[index - 1].time == record.time;
        rank = if same { rank + 1 } else { 0 };
        ranks.push(rank);
    }
}

/// The largest power of ten, in attoseconds, that differences between times of these scales are
/// whole multiples of.
pub(crate) fn time_unit(scales: impl IntoIterator<Item = TimeScale>) -> u8 {
    let unit = |scale: TimeScale| match scale.resolution {
        power @ 0..=18 => 18 - power,
        _ => 0,
    };
    scales.into_iter().map(unit).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tapstone_packet::time::Timestamp;

    fn records(times: &[i64]) -> Vec<Record> {
        let record = |nanos: &i64| Record {
            time: Timestamp::from_nanos(*nanos),
            offset: 0,
            captured: 0,
            original: 0,
            interface: 0,
        };
        times.iter().map(record).collect()
    }

    proptest! {
        #[test]
        fn sorting_by_time_and_rank_gives_back_the_order_of_arrival(
            times in proptest::collection::vec(0i64..5, 0..50),
            sorted: bool,
        ) {
            let mut times = times;
            if sorted {
                times.sort_unstable();
            }
            let records = records(&times);
            let mut rank = Vec::new();
            ranks(&records, &mut rank);
            let mut by_rank: Vec<usize> = (0..records.len()).collect();
            by_rank.sort_by_key(|packet| (records[*packet].time, rank[*packet]));
            let mut by_arrival: Vec<usize> = (0..records.len()).collect();
            by_arrival.sort_by_key(|packet| records[*packet].time);
            prop_assert_eq!(by_rank, by_arrival);
        }

        #[test]
        fn grouping_keeps_every_packet_and_the_order_within_flows(
            flow_of in proptest::collection::vec(0u32..6, 0..60),
        ) {
            let mut order = Vec::new();
            by_flow(&flow_of, 6, &mut order);
            let mut expected: Vec<u32> = (0..flow_of.len() as u32).collect();
            expected.sort_by_key(|packet| flow_of[*packet as usize]);
            prop_assert_eq!(order, expected);
        }
    }

    #[test]
    fn the_unit_is_the_finest_scale_s_tick() {
        assert_eq!(time_unit([TimeScale::MICROS]), 12);
        assert_eq!(time_unit([TimeScale::MICROS, TimeScale::NANOS]), 9);
        assert_eq!(time_unit([TimeScale { resolution: 0x8a, offset_secs: 0 }]), 0);
    }
}
