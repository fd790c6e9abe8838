//! A map by the numbers of flows, which are dense.

/// No value.
const NONE: u32 = u32::MAX;

/// Values of some of the flows of a segment. Four bytes a flow, whether it has one or not; a value
/// is found without hashing, and does not move when others come.
#[derive(Debug)]
pub(crate) struct ByFlow<V> {
    /// Where each flow's value is.
    places: Vec<u32>,
    values: Vec<V>,
    /// Places of values that were removed.
    free: Vec<u32>,
}

impl<V> Default for ByFlow<V> {
    fn default() -> ByFlow<V> {
        ByFlow { places: Vec::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<V: Default> ByFlow<V> {
    /// The flow's value; one is made where it has none.
    pub(crate) fn get_or_default(&mut self, flow: u32) -> &mut V {
        let flow = flow as usize;
        if self.places.len() <= flow {
            self.places.resize(flow + 1, NONE);
        }
        if self.places[flow] == NONE {
            self.places[flow] = self.free.pop().unwrap_or_else(|| {
                self.values.push(V::default());
                self.values.len() as u32 - 1
            });
        }
        &mut self.values[self.places[flow] as usize]
    }

    /// Removes a flow's value, where it has one, and frees what that holds.
    pub(crate) fn remove(&mut self, flow: u32) {
        let place = self.places.get_mut(flow as usize).filter(|place| **place != NONE);
        if let Some(place) = place {
            self.values[*place as usize] = V::default();
            self.free.push(*place);
            *place = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same as a hash map.
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0..40_u32, 0..10_u8), 0..300)) {
            let (mut by_flow, mut map) = (ByFlow::<u64>::default(), HashMap::<u32, u64>::new());
            for (flow, what) in steps {
                match what {
                    0 => {
                        by_flow = ByFlow::default();
                        map.clear();
                    }
                    1..=3 => {
                        by_flow.remove(flow);
                        map.remove(&flow);
                    }
                    _ => {
                        let value = by_flow.get_or_default(flow);
                        prop_assert_eq!(*value, *map.entry(flow).or_default());
                        *value += u64::from(what);
                        *map.get_mut(&flow).unwrap() += u64::from(what);
                    }
                }
                prop_assert_eq!(by_flow.values.len() - by_flow.free.len(), map.len());
            }
        }
    }
}
