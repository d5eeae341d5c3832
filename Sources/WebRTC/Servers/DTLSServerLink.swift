// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import NIOCore
import SansIO

/// Datagrams to a TURN server under DTLS (RFC 7350): a ``UDPServerLink`` with a ``DTLSClient`` in between.
final class DTLSServerLink: ServerLink {
  /// Room for one message: the longest record.
  private static let messageByteCountMax = 16_384

  private let connection: ServerConnection
  private let environment: ServerLinkEnvironment
  private weak let delegate: (any ServerLinkDelegate)?
  private var transport: UDPServerLink?
  private var localAddress: TransportAddress?
  private var client: DTLSClient?
  private var timer: (task: Scheduled<Void>, deadline: Instant)?
  private var ring = BurstRing()
  private var message = ByteBuffer()

  init(
    _ connection: ServerConnection, in environment: ServerLinkEnvironment, delegate: any ServerLinkDelegate
  ) {
    self.connection = connection
    self.environment = environment
    self.delegate = delegate
  }

  func open() {
    let transport = UDPServerLink(connection, in: environment, delegate: self)
    self.transport = transport
    environment.trust.dtlsContext().assumeIsolated().whenComplete { result in
      guard self.transport === transport else { return }
      switch result {
      case .failure(let error): self.fail(because: "no authority can be trusted: \(error)")
      case .success(let context):
        do throws(DTLSError) {
          self.client = try DTLSClient(context: context, host: self.connection.host)
        } catch { return self.fail(because: "DTLS is not possible with \(self.connection.host)") }
        transport.open()
      }
    }
  }

  func send(_ burst: ByteBuffer, segmentByteCount: Int, mayDrop: Bool, at now: Instant) {
    let bytes = burst.readableBytesSpan
    var start = 0
    while start < bytes.byteCount {
      let end = min(start + segmentByteCount, bytes.byteCount)
      do throws(DTLSError) {
        try client?.send(bytes.extracting(start..<end), at: now)
      } catch { delegate?.link(connection.id, dropped: .datagramTooLong) }
      start = end
    }
    transmit(at: now)
  }

  func flush() {
    transport?.flush()
    ring.rewind()
  }

  func close() {
    let now = NetworkClock.now
    client?.close(at: now)
    transmit(at: now)
    end()
  }

  private func end() {
    timer?.task.cancel()
    timer = nil
    client = nil
    transport?.close()
    transport = nil
  }

  private func fail(because reason: String) {
    transmit(at: NetworkClock.now)
    end()
    delegate?.link(connection.id, failedBecause: reason)
  }

  // MARK: Between client and transport

  /// Draws the consequences of what the client was told.
  private func advance(at now: Instant) {
    transmit(at: now)
    while let event = client?.pollEvent() {
      switch event {
      case .connected:
        if let localAddress { delegate?.link(connection.id, openedFrom: localAddress) }
      case .failed(let failure): return fail(because: Self.text(of: failure))
      case .closed: return fail(because: "the server ended the DTLS connection")
      }
    }
    deliver()
    armTimer(at: now)
  }

  /// Sends what the client has to send; datagrams of one size go in one call.
  private func transmit(at now: Instant) {
    while let segmentByteCount = client?.nextDatagramByteCount, let transport {
      if ring.isExhausted { flush() }
      let filled = ring.fill { output -> Void? in
        var isLast = false
        while !isLast, let next = client?.nextDatagramByteCount, next <= segmentByteCount,
          next <= output.freeCapacity
        {
          isLast = next < segmentByteCount
          _ = client?.pollTransmit(into: &output, at: now)
        }
        return ()
      }
      guard let (buffer, _) = filled else { return }
      transport.send(buffer, segmentByteCount: segmentByteCount, mayDrop: true, at: now)
    }
  }

  private func deliver() {
    while client?.nextMessageByteCount != nil {
      message.clear(minimumCapacity: Self.messageByteCountMax)
      message.writeWithOutputRawSpan(minimumWritableBytes: Self.messageByteCountMax) { output in
        _ = client?.pollMessage(into: &output)
      }
      let received = message
      delegate?.link(connection.id, received: received.readableBytesSpan)
    }
  }

  private func armTimer(at now: Instant) {
    let deadline = client?.nextDeadline
    guard deadline != timer?.deadline else { return }
    timer?.task.cancel()
    timer = nil
    guard let deadline else { return }
    let task = environment.eventLoop.assumeIsolated().scheduleTask(deadline: NIODeadline(deadline)) {
      self.timer = nil
      let now = NetworkClock.now
      self.client?.handleTimeout(at: now)
      self.advance(at: now)
      self.flush()
    }
    timer = (task, deadline)
  }

  private static func text(of failure: DTLSClient.Failure) -> String {
    switch failure {
    case .certificate(let reason): "the server's certificate was refused: \(reason)"
    case .handshake(let reason): "the DTLS handshake failed: \(reason)"
    case .timedOut:
      "no DTLS handshake within \(DTLSClient.handshakeDurationMax.nanoseconds / 1_000_000_000) s"
    }
  }
}

extension DTLSServerLink: ServerLinkDelegate {
  func link(_ id: ServerConnectionID, openedFrom address: TransportAddress) {
    localAddress = address
    let now = NetworkClock.now
    client?.start(at: now)
    advance(at: now)
    flush()
  }

  func link(_ id: ServerConnectionID, failedBecause reason: String) { fail(because: reason) }

  func link(_ id: ServerConnectionID, received frame: RawSpan) {
    let now = NetworkClock.now
    client?.receive(frame, at: now)
    advance(at: now)
  }

  func linkReceivedAll(_ id: ServerConnectionID) {
    flush()
    delegate?.linkReceivedAll(id)
  }

  func link(_ id: ServerConnectionID, dropped cause: NetworkDropCause) { delegate?.link(id, dropped: cause) }
}
