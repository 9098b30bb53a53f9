#![no_main]
//! Every private channel's frames: no panic, and what decodes encodes to the same.

use gatepost_wire::session::{Answer, Ask};
use gatepost_wire::sign::{Sign, Signature};
use gatepost_wire::{Frame, Messages, Value, control, dial, link, names, parent, queue};
use libfuzzer_sys::fuzz_target;

fn round<'a, M: Value<'a>>(input: &'a [u8]) {
    if let Ok(message) = Messages::<M>::one(input) {
        assert_eq!(Frame::of(&message).unwrap().bytes(), input);
    }
}

fuzz_target!(|input: &[u8]| {
    round::<Ask<'_>>(input);
    round::<Answer>(input);
    round::<Sign<'_>>(input);
    round::<Signature<'_>>(input);
    round::<control::Order>(input);
    round::<control::Report>(input);
    round::<link::NurseryOrder>(input);
    round::<link::Ended>(input);
    round::<link::HandoffOrder>(input);
    round::<link::Left>(input);
    round::<link::OpenKey>(input);
    round::<queue::Submit<'_>>(input);
    round::<queue::Done>(input);
    round::<dial::Dial>(input);
    round::<dial::Dialed>(input);
    round::<names::Ask>(input);
    round::<names::NamesNews>(input);
    round::<parent::Ask<'_>>(input);
    round::<parent::Answer<'_>>(input);
    Messages::<Ask<'_>>::of(input).for_each(drop);
});
