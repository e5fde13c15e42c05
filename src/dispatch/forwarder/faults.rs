//! What kept an answer from coming, read off the errors of TCP, TLS, HTTP/1 and HTTP/2.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use hickory_resolver::net::NetError;
use rustix::io::Errno;
use rustls::CertificateError;

use crate::delivery::Fault;

/// Why a name has no address.
pub fn of_name(error: &NetError) -> Fault {
    match error {
        NetError::Io(error) if is_local(error) => Fault::Local,
        _ => Fault::Dns,
    }
}

/// Why there is no connection.
pub fn of_connecting(error: &io::Error, address: SocketAddr) -> Fault {
    match error.kind() {
        _ if is_local(error) => Fault::Local,
        // All ports are in use. Of IPv6 it may also mean that this machine has none.
        ErrorKind::AddrNotAvailable if address.is_ipv4() => Fault::Local,
        ErrorKind::TimedOut => Fault::Timeout,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Fault::Reset,
        _ => Fault::Refused,
    }
}

/// Whether this machine has run out of something: no other machine can cause these errors.
fn is_local(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS].contains(&errno))
}

/// Why the TLS handshake failed.
pub fn of_handshake(error: &io::Error) -> Fault {
    match inner(error) {
        Some(error) => of_tls(error),
        None if error.kind() == ErrorKind::TimedOut => Fault::Timeout,
        None => Fault::Tls,
    }
}

/// Why a request has no answer.
pub fn of_request(error: &hyper::Error) -> Fault {
    first(error).unwrap_or(Fault::Reset)
}

/// Why an answer whose head has come has no end.
pub fn of_body(error: &hyper::Error) -> Fault {
    let is_cut_off = |error: &io::Error| error.kind() == ErrorKind::UnexpectedEof;
    let cut_off = causes(error).filter_map(|cause| cause.downcast_ref()).any(is_cut_off);
    if cut_off { Fault::Protocol } else { first(error).unwrap_or(Fault::Reset) }
}

/// What the first cause that tells says.
fn first(error: &(dyn Error + 'static)) -> Option<Fault> {
    causes(error).find_map(|cause| {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            Some(*fault)
        } else if let Some(error) = cause.downcast_ref::<io::Error>() {
            Some(of_io(error))
        } else if let Some(error) = cause.downcast_ref::<h2::Error>() {
            Some(of_h2(error))
        } else {
            cause.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()).map(|_| Fault::Protocol)
        }
    })
}

/// An error, and what caused it, and so on.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

fn of_io(error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::TimedOut => Fault::Timeout,
        // After the handshake: an alert, such as for a client certificate that the receiver asks for.
        _ if inner(error).is_some() => Fault::Tls,
        ErrorKind::InvalidData | ErrorKind::InvalidInput => Fault::Protocol,
        _ => Fault::Reset,
    }
}

/// What this side found wrong breaks the protocol (RFC 9113 §5.4); what the other side says ends the request.
pub fn of_h2(error: &h2::Error) -> Fault {
    match error.get_io() {
        Some(error) => of_io(error),
        None if error.is_library() => Fault::Protocol,
        None => Fault::Reset,
    }
}

/// The TLS error inside an I/O error.
fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn of_tls(error: &rustls::Error) -> Fault {
    let rustls::Error::InvalidCertificate(error) = error else { return Fault::Tls };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::TlsExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Fault::TlsName,
        // A trusted authority of this name has another key: one of them was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Fault::TlsIssuer,
        _ => Fault::Tls,
    }
}
