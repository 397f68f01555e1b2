//! Transports behind a pointer are transports.

use crate::{Incoming, Transport};
use async_trait::async_trait;
use hence_core::{Address, Message};
use std::rc::Rc;

#[async_trait(?Send)]
impl<T: Transport + ?Sized> Transport for Rc<T> {
    fn send(&self, to: &Address, message: Message) {
        (**self).send(to, message);
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        (**self).receive(into).await;
    }
}

#[async_trait(?Send)]
impl<T: Transport + ?Sized> Transport for Box<T> {
    fn send(&self, to: &Address, message: Message) {
        (**self).send(to, message);
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        (**self).receive(into).await;
    }
}
