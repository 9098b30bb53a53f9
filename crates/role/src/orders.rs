//! The launcher's orders as a state machine, and the tables it follows. Pure: orders in, steps out.

use gatepost_wire::control::{Order, Role};

/// Which roles are linked with each other. The launcher makes these links, and a role takes no other.
pub const LINKS: &[(Role, Role)] = &[
    (Role::Listener, Role::Keyholder),
    (Role::Listener, Role::Auth),
    (Role::Listener, Role::Handoff),
    (Role::Listener, Role::Nursery),
    (Role::Listener, Role::Resolver),
    (Role::Handoff, Role::Queue),
    (Role::Handoff, Role::Dialer),
    (Role::Handoff, Role::Resolver),
    (Role::Handoff, Role::Keyholder),
    (Role::Handoff, Role::Auth),
    (Role::Auth, Role::Dialer),
    (Role::Auth, Role::Checker),
    (Role::Receiver, Role::Observer),
    (Role::Queue, Role::Observer),
    (Role::Checker, Role::Observer),
    (Role::Dialer, Role::Observer),
    (Role::Resolver, Role::Observer),
    (Role::Keyholder, Role::Observer),
    (Role::Auth, Role::Observer),
    (Role::Handoff, Role::Observer),
    (Role::Nursery, Role::Observer),
    (Role::Listener, Role::Observer),
];

/// How far a role's life has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In its jail; links are made.
    Waiting,
    /// Told to go; it makes sure that it can serve.
    Starting,
    /// It has said that it is ready.
    Serving,
    /// No new work; it ends when nothing is under way.
    Draining,
}

const ALWAYS: &[Phase] = &[Phase::Waiting, Phase::Starting, Phase::Serving, Phase::Draining];
const UNTIL_DRAINED: &[Phase] = &[Phase::Waiting, Phase::Starting, Phase::Serving];
const SINCE_GO: &[Phase] = &[Phase::Starting, Phase::Serving, Phase::Draining];

/// Which roles may be given an order, and in which phases; [`Order::Peer`] besides only if [`LINKS`] has the pair. A peer that is
/// started anew is linked at any time, and an admin asks at any time; to be told twice to drain changes nothing.
fn permitted(order: Order) -> (&'static [Role], &'static [Phase]) {
    match order {
        Order::Peer(_) | Order::Drain => (&Role::ALL, ALWAYS),
        Order::Go => (&Role::ALL, &[Phase::Waiting]),
        Order::Ping => (&Role::ALL, SINCE_GO),
        // For clients, and for those who read the counters.
        Order::Socket(_) => (&[Role::Listener, Role::Observer], UNTIL_DRAINED),
        Order::Lines | Order::Syslog | Order::Look => (&[Role::Observer], ALWAYS),
        Order::Rules | Order::Networks | Order::Kick(_) => (&[Role::Listener], ALWAYS),
        Order::Cut => (&[Role::Listener], &[Phase::Draining]),
        Order::Tables => (&[Role::Handoff], ALWAYS),
        Order::Forgive(_) => (&[Role::Listener, Role::Handoff], ALWAYS),
        Order::Names | Order::Servers => (&[Role::Resolver], ALWAYS),
    }
}

/// The roles that `role` is linked with.
pub fn peers(role: Role) -> impl Iterator<Item = Role> {
    LINKS.iter().filter_map(move |(one, other)| match role {
        role if role == *one => Some(*other),
        role if role == *other => Some(*one),
        _ => None,
    })
}

/// What a role has to do, with descriptors of the kind `F`.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<F> {
    /// Take this end of a fresh link with a role into use, instead of an earlier one with it, which is finished and not cut.
    Link(Role, F),
    /// Make sure that you can serve, then say that you are ready.
    Begin,
    /// Take no new work, finish what is under way, end.
    Drain,
    /// What only some roles have to do. The others never get it.
    Special(Special<F>),
    /// Nothing is left to do: the role logs to another observer already, or its [`Control`](crate::Control) answers the ping.
    Noted,
}

/// What only some roles have to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Special<F> {
    /// Accept connections on this listening socket: the one of the `[[listen]]` with that index, or of `listen` in `[metrics]`. To
    /// listener and observer.
    Socket(u8, F),
    /// The launcher logs by this channel from now on. To the observer.
    Lines(F),
    /// Lines go to this socket of syslog's from now on. To the observer.
    Syslog(F),
    /// The rules are what is in this memory from now on. To the listener.
    Rules(F),
    /// What is different for some networks is in this memory from now on. To the listener.
    Networks(F),
    /// The tables are in this memory from now on. To handoff.
    Tables(F),
    /// The names of the host have changed: the slice is in this memory. To the resolver.
    Names(F),
    /// An admin wishes this ([`Order::Look`], [`Order::Kick`], [`Order::Forgive`], [`Order::Servers`]), and is told by this connection
    /// what comes of it. To observer, listener, handoff or resolver.
    Admin(Order, F),
    /// Log whose sessions are cut off, and end. To a listener that drains.
    Cut,
}

/// An order that this role has no use for, or not in this phase: a bug of the launcher's, and the end of the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unordered {
    /// The order.
    pub order: Order,
    /// Descriptors that came with it.
    pub descriptors: usize,
    /// The phase it came in.
    pub phase: Phase,
}

/// The state machine of one role.
#[derive(Debug)]
pub struct Orders {
    role: Role,
    phase: Phase,
}

impl Orders {
    /// For a role that has just entered its jail.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { role, phase: Phase::Waiting }
    }

    /// How far its life has gone.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Takes one order with the descriptors that came with it.
    ///
    /// # Errors
    /// [`Unordered`].
    pub fn take<F>(&mut self, order: Order, descriptors: Vec<F>) -> Result<Step<F>, Unordered> {
        let unordered = Unordered { order, descriptors: descriptors.len(), phase: self.phase };
        let (roles, phases) = permitted(order);
        let linked = |peer| peers(self.role).any(|role| role == peer);
        if !roles.contains(&self.role)
            || !phases.contains(&self.phase)
            || matches!(order, Order::Peer(peer) if !linked(peer))
        {
            return Err(unordered);
        }
        let mut descriptors = descriptors.into_iter();
        let step = match (order, descriptors.next(), descriptors.next()) {
            (Order::Peer(role), Some(end), None) => Step::Link(role, end),
            (Order::Socket(index), Some(socket), None) => Step::Special(Special::Socket(index, socket)),
            (Order::Lines, Some(end), None) => Step::Special(Special::Lines(end)),
            (Order::Syslog, Some(socket), None) => Step::Special(Special::Syslog(socket)),
            (Order::Rules, Some(memory), None) => Step::Special(Special::Rules(memory)),
            (Order::Names, Some(memory), None) => Step::Special(Special::Names(memory)),
            (Order::Networks, Some(memory), None) => Step::Special(Special::Networks(memory)),
            (Order::Tables, Some(memory), None) => Step::Special(Special::Tables(memory)),
            (Order::Look | Order::Kick(_) | Order::Forgive(_) | Order::Servers, Some(admin), None) => {
                Step::Special(Special::Admin(order, admin))
            }
            (Order::Go, None, _) => {
                self.phase = Phase::Starting;
                Step::Begin
            }
            (Order::Drain, None, _) => {
                self.phase = Phase::Draining;
                Step::Drain
            }
            (Order::Ping, None, _) => Step::Noted,
            (Order::Cut, None, _) => Step::Special(Special::Cut),
            _ => return Err(unordered),
        };
        Ok(step)
    }

    /// The role can serve. True: the launcher is to be told; false when it is draining already.
    #[must_use]
    pub fn ready(&mut self) -> bool {
        let starting = self.phase == Phase::Starting;
        if starting {
            self.phase = Phase::Serving;
        }
        starting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A role's orders in a phase that it came to by orders alone.
    fn orders(role: Role, phase: Phase) -> Orders {
        let mut orders = Orders::new(role);
        if phase == Phase::Starting || phase == Phase::Serving {
            assert_eq!(orders.take::<()>(Order::Go, vec![]), Ok(Step::Begin));
        }
        if phase == Phase::Serving {
            assert!(orders.ready());
        }
        if phase == Phase::Draining {
            assert_eq!(orders.take::<()>(Order::Drain, vec![]), Ok(Step::Drain));
        }
        assert_eq!(orders.phase(), phase);
        orders
    }

    #[test]
    fn each_role_is_linked_with_its_peers_and_no_other_in_any_phase() {
        let handoff: Vec<Role> = peers(Role::Handoff).collect();
        assert_eq!(
            handoff,
            [Role::Listener, Role::Queue, Role::Dialer, Role::Resolver, Role::Keyholder, Role::Auth, Role::Observer]
        );
        for phase in ALWAYS.iter().copied() {
            for role in Role::ALL {
                for peer in Role::ALL {
                    let linked = LINKS.contains(&(role, peer)) || LINKS.contains(&(peer, role));
                    let step = orders(role, phase).take(Order::Peer(peer), vec!['f']).ok();
                    assert_eq!(step, linked.then_some(Step::Link(peer, 'f')), "{role:?} {peer:?} {phase:?}");
                }
            }
        }
    }

    #[test]
    fn sockets_are_for_listener_and_observer_until_they_drain() {
        for phase in ALWAYS.iter().copied() {
            for role in Role::ALL {
                let step = orders(role, phase).take(Order::Socket(3), vec!['f']).ok();
                let taken = [Role::Listener, Role::Observer].contains(&role) && phase != Phase::Draining;
                assert_eq!(step, taken.then_some(Step::Special(Special::Socket(3, 'f'))), "{role:?} {phase:?}");
            }
        }
    }

    #[test]
    fn issue_12_rules_names_and_syslog_are_for_one_role_in_every_phase() {
        for phase in ALWAYS.iter().copied() {
            for role in Role::ALL {
                let step = orders(role, phase).take(Order::Rules, vec!['f']).ok();
                assert_eq!(
                    step,
                    (role == Role::Listener).then_some(Step::Special(Special::Rules('f'))),
                    "{role:?} {phase:?}"
                );
                assert!(orders(role, phase).take::<char>(Order::Rules, vec![]).is_err());
                let step = orders(role, phase).take(Order::Syslog, vec!['f']).ok();
                assert_eq!(
                    step,
                    (role == Role::Observer).then_some(Step::Special(Special::Syslog('f'))),
                    "{role:?} {phase:?}"
                );
                let step = orders(role, phase).take(Order::Networks, vec!['f']).ok();
                assert_eq!(
                    step,
                    (role == Role::Listener).then_some(Step::Special(Special::Networks('f'))),
                    "{role:?} {phase:?}"
                );
                let step = orders(role, phase).take(Order::Tables, vec!['f']).ok();
                assert_eq!(
                    step,
                    (role == Role::Handoff).then_some(Step::Special(Special::Tables('f'))),
                    "{role:?} {phase:?}"
                );
                let step = orders(role, phase).take(Order::Names, vec!['f']).ok();
                assert_eq!(
                    step,
                    (role == Role::Resolver).then_some(Step::Special(Special::Names('f'))),
                    "{role:?} {phase:?}"
                );
                assert!(orders(role, phase).take::<char>(Order::Names, vec![]).is_err());
            }
        }
    }

    #[test]
    fn issue_12_an_admin_may_ask_in_every_phase_and_each_role_for_what_it_has() {
        let address = "192.0.2.9".parse().unwrap();
        let (look, forgive) = (Order::Look, Order::Forgive(address));
        for phase in ALWAYS.iter().copied() {
            for role in Role::ALL {
                for (order, asked) in [
                    (look, &[Role::Observer][..]),
                    (forgive, &[Role::Listener, Role::Handoff]),
                    (Order::Servers, &[Role::Resolver]),
                ] {
                    let step = orders(role, phase).take(order, vec!['f']).ok();
                    let taken = asked.contains(&role).then_some(Step::Special(Special::Admin(order, 'f')));
                    assert_eq!(step, taken, "{order:?} {role:?} {phase:?}");
                }
            }
        }
    }

    #[test]
    fn a_role_goes_once_and_drains_from_every_phase() {
        for phase in ALWAYS.iter().copied() {
            let mut going = orders(Role::Queue, phase);
            assert_eq!(going.take::<()>(Order::Go, vec![]).is_ok(), phase == Phase::Waiting, "{phase:?}");
            let mut draining = orders(Role::Queue, phase);
            assert_eq!(draining.take::<()>(Order::Drain, vec![]), Ok(Step::Drain), "{phase:?}");
            assert_eq!(draining.phase(), Phase::Draining);
            assert!(!draining.ready(), "one that drains is not ready any more");
        }
    }

    #[test]
    fn issue_9_a_role_that_was_told_to_go_answers_a_ping_in_any_phase() {
        for phase in ALWAYS.iter().copied() {
            for role in Role::ALL {
                let step = orders(role, phase).take::<()>(Order::Ping, vec![]).ok();
                assert_eq!(step, (phase != Phase::Waiting).then_some(Step::Noted), "{role:?} {phase:?}");
            }
        }
    }

    #[test]
    fn an_order_brings_the_descriptors_it_needs_and_no_more() {
        let orders_of = [(Order::Peer(Role::Nursery), 1), (Order::Socket(0), 1), (Order::Go, 0), (Order::Drain, 0)];
        for (order, right) in orders_of {
            for descriptors in 0..3 {
                let mut orders = Orders::new(Role::Listener);
                let taken = orders.take(order, vec![(); descriptors]);
                let refused = Unordered { order, descriptors, phase: Phase::Waiting };
                assert_eq!(taken.as_ref().err(), (descriptors != right).then_some(&refused));
                assert!(taken.is_ok() || orders.phase() == Phase::Waiting);
            }
        }
    }
}
