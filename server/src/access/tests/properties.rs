//! What holds for every policy and every scope.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{Role, ScopeError};
use super::*;

/// Said anew, so that a slip in the product is no slip here: which methods a role is for.
fn methods_of(role: Role) -> &'static [usize] {
    match role {
        Role::MetadataSearch => &[1, 2, 3, 4, 5],
        Role::PacketRetrieval => &[0, 1, 2, 3, 4, 5],
        Role::Operator => &[4, 5, 6, 7, 8, 9, 10, 11, 14, 17],
        Role::Custodian => &[12, 13, 14, 15],
        Role::Auditor => &[4, 5, 14, 16],
    }
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    subsequence(Role::ALL.to_vec(), 1..=5)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..40_i64).prop_map(|second| Timestamp::from_secs_nanos(second, 0))
}

proptest! {
    #[test]
    fn a_grant_is_never_outside_the_union_of_the_roles(
        all in vec(roles(), 1..5),
        who in 0..6_usize,
        way in 0..4_usize,
        method in prop_oneof![
            select(METHODS.to_vec()).prop_map(str::to_owned),
            "/tapstone\\.v1\\.(Tapstone|Admin)/[A-Za-z/]{0,8}",
            "[ -~]{0,30}",
        ],
    ) {
        let tokens: Vec<Token> = all.iter().map(|_| Token::random().unwrap()).collect();
        let name = |index: usize| format!("member{index}");
        let identity = all.iter().zip(&tokens).enumerate().map(|(index, (roles, token))| {
            let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            identity(&name(index), 2000 + index as u32, &roles, token)
        });
        let settings = Settings { identity: identity.collect() };
        let policy = Policy::new(&settings, OWN_UID, &Accounts::default()).unwrap();
        let token = tokens.get(who).map(|token| token.text().to_owned());
        let certificate = certificate(&format!("{}@example.com", name(who)));
        let (peer, bearer) = match way {
            0 => (tcp(), token),
            1 => (tls(None), token),
            2 => (tls(Some(certificate)), None),
            _ => (unix(2000 + who as u32), None),
        };
        let Ok(grant) = policy.decide(&peer, bearer.as_deref(), &method, now()) else {
            return Ok(());
        };
        if method.starts_with("/grpc.health.v1.Health/") {
            prop_assert!(grant.scope == Scope::nothing());
            return Ok(());
        }
        prop_assert!(who < all.len(), "{method} for nobody");
        prop_assert_eq!(grant.identity.to_string(), name(who));
        let place = METHODS.iter().position(|&known| known == method);
        let in_role = place.is_some_and(|place| {
            METHODS[place].starts_with("/grpc.reflection.") || all[who].iter().any(|&role| methods_of(role).contains(&place))
        });
        prop_assert!(in_role, "{method} for {:?}", all[who]);
    }

    #[test]
    fn a_time_range_is_never_widened(
        scope in (option::of(time()), option::of(time())),
        asked in (option::of(time()), option::of(time())),
        at in time(),
    ) {
        let within = |(since, until): (Option<Timestamp>, Option<Timestamp>)| {
            since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
        };
        let wanted = within(scope) && within(asked);
        match Scope::new(Vec::new(), scope.0, scope.1).clamp(asked.0, asked.1) {
            Ok(clamped) => prop_assert_eq!(within(clamped), wanted),
            Err(error) => {
                prop_assert!(matches!(error, ScopeError::OutOfTime(_)));
                prop_assert!(!wanted);
            }
        }
    }
}
