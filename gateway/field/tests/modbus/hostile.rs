//! A peer that sends whatever it likes.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// Pseudo-random bytes that begin like an answer, or don't.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[3]
    }

    /// To a request over TCP.
    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let length = usize::from(self.next()) + 1;
        let mut answer: Vec<u8> = (0..length).map(|_| self.next()).collect();
        let header = request.len().min(7).min(answer.len());
        match self.next() % 4 {
            0 => {}
            // The right header, and a length that fits, or any.
            1 => answer[..header].copy_from_slice(&request[..header]),
            _ => {
                answer[..header].copy_from_slice(&request[..header]);
                let rest = u16::try_from(answer.len().saturating_sub(6))
                    .unwrap()
                    .to_be_bytes();
                if answer.len() > 8 {
                    answer[4..6].copy_from_slice(&rest);
                    answer[7] = self.next() % 8;
                }
            }
        }
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_bytes_are_a_fault_or_a_value() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut bytes = Bytes(0x9e37_79b9_7f4a_7c15);
        let mut answered = 0;
        while answered < 400 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 260];
            while let Ok(length @ 1..) = stream.read(&mut request).await {
                let answer = bytes.answer(&request[..length]);
                answered += 1;
                if stream.write_all(&answer).await.is_err() || bytes.next().is_multiple_of(16) {
                    break;
                }
            }
        }
    });
    let points: String = [
        "holding: 0, type: u32",
        "input: 9, type: f64",
        "coil: 3",
        "discrete: 9",
        "holding: 50, type: string, length: 20",
    ]
    .iter()
    .enumerate()
    .map(|(n, point)| format!("      p{n}: {{ {point} }}\n"))
    .collect();
    let connection = format!("modbus-tcp: \"127.0.0.1:{port}\"");
    // Each fault waits for a second at most; many devices make it many answers.
    let devices: String = (1..=40)
        .map(|n| {
            format!(
                "  d{n}:\n    connection: c\n    unit: {n}\n    every: 100ms\n    points:\n{points}"
            )
        })
        .collect();
    let yaml = format!(
        "version: 1\nconnections: {{ c: {{ {connection}, timeout: 20ms, retries: 0, max-backoff: 1s }} }}\ndevices:\n{devices}"
    );
    let mut read = Read::start(&yaml);
    let listening = async {
        loop {
            read.next().await;
        }
    };
    tokio::select! {
        served = tokio::time::timeout(LIMIT, serving) => served.expect("it goes on asking").unwrap(),
        () = listening => {}
    }
    // It still takes another mapping: nothing has panicked.
    assert!(
        read.field
            .replace(stencil_field::mapping::Mapping::default())
            .await
    );
}
