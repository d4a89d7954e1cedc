//! One request and its answer, over TCP or a serial line.

use std::{io, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tokio_modbus::{
    Error, ProtocolError, Request, Response, Slave,
    client::{Client as _, Context, rtu, tcp},
    prelude::SlaveContext as _,
};

use super::{address::Table, counted::Came};
use crate::{
    Fault,
    mapping::{Connection, Protocol, TcpAddress},
    serial::{Line, Settings},
};

/// The least time that is given to a connection to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// Bytes of an RTU request to read, and of the longest answer besides its data.
const REQUEST_BYTES: usize = 8;
const ANSWER_BYTES: usize = 5;
/// The least silence between two frames on a fast line (Modbus over Serial Line 1.02, section
/// 2.5.1.1); on a slow one it is the time of three and a half bytes.
const LEAST_SILENCE: Duration = Duration::from_micros(1_750);

/// A connection, made when it is needed.
pub(super) struct Bus {
    way: Way,
    place: Arc<str>,
    timeout: Duration,
    pause: Duration,
    context: Option<Context>,
    came: Came,
    /// When something was on it last.
    used_at: tokio::time::Instant,
}

enum Way {
    Tcp(TcpAddress),
    Rtu {
        settings: Settings,
        line: Option<Line>,
    },
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Bits(Vec<bool>),
    Words(Vec<u16>),
}

impl Bus {
    pub(super) fn new(connection: &Connection) -> Self {
        let way = match &connection.protocol {
            Protocol::ModbusTcp(address) => Way::Tcp(address.clone()),
            // Nobody makes a bus of it.
            Protocol::OpcUa(server) => Way::Tcp(server.address.clone()),
            Protocol::Mqtt(_) | Protocol::I2c(_) => Way::Tcp(crate::mapping::TcpAddress {
                host: String::new(),
                port: 0,
            }),
            Protocol::ModbusRtu(settings) => Way::Rtu {
                settings: settings.clone(),
                line: None,
            },
        };
        Self {
            way,
            place: connection.protocol.place(),
            timeout: connection.timeout,
            pause: connection.pause,
            context: None,
            came: Came::default(),
            used_at: tokio::time::Instant::now(),
        }
    }

    /// Reads `count` registers or bits, once; on a new connection if the other side has closed the
    /// one that there was, as many do with one that is quiet. After a fault the next one starts
    /// afresh: what comes too late is not taken for another answer.
    pub(super) async fn read(
        &mut self,
        unit: u8,
        table: Table,
        first: u16,
        count: u16,
    ) -> Result<Answer, Fault> {
        let was_open = self.context.is_some();
        let mut read = self.ask(unit, table, first, count).await;
        if was_open && read == Err(Fault::Closed) {
            self.context = None;
            read = self.ask(unit, table, first, count).await;
        }
        self.used_at = tokio::time::Instant::now();
        match &read {
            // It answers, and the connection is as it was.
            Ok(_) | Err(Fault::Exception { .. } | Fault::Short { .. }) => {}
            Err(_) => self.context = None,
        }
        read
    }

    async fn ask(
        &mut self,
        unit: u8,
        table: Table,
        first: u16,
        count: u16,
    ) -> Result<Answer, Fault> {
        tokio::time::sleep_until(self.used_at + self.silence()).await;
        let timeout = self.timeout + self.time_on_line(table, count);
        let came = self.came.clone();
        let context = self.connected().await?;
        came.begin();
        context.set_slave(Slave(unit));
        let request = match table {
            Table::Coil => Request::ReadCoils(first, count),
            Table::Discrete => Request::ReadDiscreteInputs(first, count),
            Table::Holding => Request::ReadHoldingRegisters(first, count),
            Table::Input => Request::ReadInputRegisters(first, count),
        };
        let answer = match tokio::time::timeout(timeout, context.call(request)).await {
            Err(_) => {
                let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                return Err(match came.bytes() {
                    0 => Fault::Timeout { ms },
                    // Such as a banner, whose first bytes were taken for a length.
                    bytes => Fault::Nonsense(format!(
                        "{bytes} bytes came within {ms} ms that are no answer of Modbus"
                    )),
                });
            }
            Ok(Err(error)) => return Err(fault(&error)),
            Ok(Ok(Err(exception))) => {
                let code = exception.into();
                return Err(Fault::Exception { code });
            }
            Ok(Ok(Ok(answer))) => answer,
        };
        let wanted = usize::from(count);
        let (answer, got) = match answer {
            // Bits come in whole bytes.
            Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits) => {
                let got = bits.len();
                bits.truncate(wanted);
                (Answer::Bits(bits), got.min(wanted.next_multiple_of(8)))
            }
            Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => {
                let got = words.len();
                (Answer::Words(words), got)
            }
            _ => return Err(Fault::Nonsense("an answer of another function".to_owned())),
        };
        let expected = match answer {
            Answer::Bits(_) => wanted.next_multiple_of(8),
            Answer::Words(_) => wanted,
        };
        if got == expected {
            Ok(answer)
        } else {
            Err(Fault::Short { wanted, got })
        }
    }

    /// The connection; made if there is none.
    async fn connected(&mut self) -> Result<&mut Context, Fault> {
        let failed = |error: &io::Error| Fault::connect(&self.place, error);
        if let Way::Rtu {
            line: Some(line), ..
        } = &self.way
            && let Err(error) = line.flush_input()
        {
            // The adapter was pulled out.
            if let Way::Rtu { line, .. } = &mut self.way {
                *line = None;
            }
            self.context = None;
            return Err(failed(&error));
        }
        if self.context.is_none() {
            let context = match &mut self.way {
                Way::Tcp(TcpAddress { host, port }) => {
                    let connecting = TcpStream::connect((host.as_str(), *port));
                    let timeout = self.timeout.max(CONNECT);
                    let stream = match tokio::time::timeout(timeout, connecting).await {
                        Ok(connected) => connected.map_err(|error| failed(&error))?,
                        Err(_) => {
                            let ms = timeout.as_millis();
                            return Err(Fault::Connect {
                                to: Arc::clone(&self.place),
                                why: format!("it takes longer than {ms} ms"),
                            });
                        }
                    };
                    stream.set_nodelay(true).map_err(|error| failed(&error))?;
                    tcp::attach(self.came.over(stream))
                }
                Way::Rtu { settings, line } => {
                    let opened = match line.take() {
                        Some(line) => line,
                        None => Line::open(settings).map_err(|error| failed(&error))?,
                    };
                    rtu::attach(self.came.over(line.insert(opened).clone()))
                }
            };
            self.context = Some(context);
        }
        self.context.as_mut().ok_or(Fault::Closed)
    }

    /// How long nothing may be on it before a request.
    fn silence(&self) -> Duration {
        match &self.way {
            Way::Tcp(_) => self.pause,
            Way::Rtu { settings, .. } => {
                let bytes = settings.time_of(7) / 2;
                self.pause.max(bytes.max(LEAST_SILENCE))
            }
        }
    }

    fn time_on_line(&self, table: Table, count: u16) -> Duration {
        match &self.way {
            Way::Tcp(_) => Duration::ZERO,
            Way::Rtu { settings, .. } => {
                let count = usize::from(count);
                let data = if table.has_bits() {
                    count.div_ceil(8)
                } else {
                    2 * count
                };
                settings.time_of(REQUEST_BYTES + ANSWER_BYTES + data)
            }
        }
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::Protocol(ProtocolError::HeaderMismatch { message, .. }) => {
            Fault::Nonsense(format!("it is not of who was asked: {message}"))
        }
        Error::Protocol(ProtocolError::FunctionCodeMismatch { request, .. }) => {
            Fault::Nonsense(format!("it is not to function {}", request.value()))
        }
        Error::Transport(error) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Fault::Nonsense(error.to_string())
            }
            // A frame that is shorter than it says.
            io::ErrorKind::UnexpectedEof => Fault::Nonsense("it ends too early".to_owned()),
            _ => Fault::Closed,
        },
    }
}
