// SPDX-License-Identifier: Apache-2.0

import SansIO

@testable import DTLS

/// Two transports with 10 ms between them, in virtual time.
///
/// Datagrams are numbered in the order of sending, over both directions; a test names those that get lost.
final class Link {
  struct Datagram {
    let arrival: Instant
    let isForServer: Bool
    let bytes: [UInt8]
  }

  var client: DTLSTransport
  var server: DTLSTransport
  var now = Instant.zero
  var lostNumbers: Set<Int> = []
  var sent: [[UInt8]] = []
  var inFlight: [Datagram] = []
  var clientEvents: [DTLSTransport.Event] = []
  var serverEvents: [DTLSTransport.Event] = []
  var clientEndedAt: Instant?
  var serverEndedAt: Instant?

  init(client: consuming DTLSTransport, server: consuming DTLSTransport) {
    self.client = client
    self.server = server
  }

  /// Two ordinary peers that know each other's fingerprint, unless told otherwise.
  static func make(
    context: DTLSContext = sharedContext, clientContext: DTLSContext? = nil,
    clientCertificate: DTLSCertificate? = nil, serverCertificate: DTLSCertificate? = nil,
    clientHasCertificate: Bool = true, clientExpects: [CertificateFingerprint]? = nil,
    serverExpects: [CertificateFingerprint]? = nil, maximumDatagramByteCount: Int = 1200
  ) throws -> Link {
    let clientCertificate = try clientCertificate ?? context.makeCertificate()
    let serverCertificate = try serverCertificate ?? context.makeCertificate()
    let client = try DTLSTransport(
      context: clientContext ?? context, optionalCertificate: clientHasCertificate ? clientCertificate : nil,
      role: .client, remoteFingerprints: clientExpects ?? [serverCertificate.fingerprint],
      initialTimeout: .milliseconds(50), maximumDatagramByteCount: maximumDatagramByteCount)
    let server = try DTLSTransport(
      context: context, certificate: serverCertificate, role: .server,
      remoteFingerprints: serverExpects ?? [clientCertificate.fingerprint], initialTimeout: .milliseconds(50),
      maximumDatagramByteCount: maximumDatagramByteCount)
    return Link(client: client, server: server)
  }

  func start() {
    server.start(at: now)
    client.start(at: now)
    pump()
  }

  /// Sends what waits and collects events.
  func pump() {
    while let datagram = take(&client, at: now) { enqueue(datagram, isForServer: true) }
    while let datagram = take(&server, at: now) { enqueue(datagram, isForServer: false) }
    while let event = client.pollEvent() {
      clientEvents.append(event)
      clientEndedAt = clientEndedAt ?? now
    }
    while let event = server.pollEvent() {
      serverEvents.append(event)
      serverEndedAt = serverEndedAt ?? now
    }
  }

  private func enqueue(_ bytes: [UInt8], isForServer: Bool) {
    let isLost = lostNumbers.contains(sent.count)
    sent.append(bytes)
    if !isLost {
      inFlight.append(Datagram(arrival: now + .milliseconds(10), isForServer: isForServer, bytes: bytes))
    }
  }

  /// Moves time on to whatever is next, for at most `duration` and 10,000 steps; stops when nothing is left to do.
  func run(for duration: TimeDelta = .seconds(60)) {
    let end = now + duration
    for _ in 0..<10_000 {
      pump()
      let deadlines = Instant.earliest(client.nextDeadline, server.nextDeadline)
      guard let next = Instant.earliest(inFlight.first?.arrival, deadlines), next <= end else { return }
      now = max(now, next)
      deliverDue()
      client.handleTimeout(at: now)
      server.handleTimeout(at: now)
    }
  }

  private func deliverDue() {
    while let datagram = inFlight.first, datagram.arrival <= now {
      inFlight.removeFirst()
      if datagram.isForServer {
        server.receive(datagram.bytes.rawSpan, at: now)
      } else {
        client.receive(datagram.bytes.rawSpan, at: now)
      }
    }
  }

  var clientConnected: DTLSTransport.Connected? { clientEvents.lazy.compactMap(\.connected).first }
  var serverConnected: DTLSTransport.Connected? { serverEvents.lazy.compactMap(\.connected).first }
  var clientFailure: DTLSTransport.Failure? { clientEvents.lazy.compactMap(\.failure).first }
  var serverFailure: DTLSTransport.Failure? { serverEvents.lazy.compactMap(\.failure).first }
  var areBothConnected: Bool { clientConnected != nil && serverConnected != nil }
}

extension DTLSTransport.Event {
  var connected: DTLSTransport.Connected? {
    if case .connected(let connected) = self { connected } else { nil }
  }

  var failure: DTLSTransport.Failure? {
    if case .failed(let failure) = self { failure } else { nil }
  }

  var isClosed: Bool {
    if case .closed = self { true } else { false }
  }
}

/// Takes one datagram out of a transport.
func take(_ transport: inout DTLSTransport, at now: Instant) -> [UInt8]? {
  var isTaken = false
  let bytes = [UInt8](writing: 2048) { (output: inout OutputRawSpan) in
    isTaken = transport.pollTransmit(into: &output, at: now)
  }
  return isTaken ? bytes : nil
}

/// Takes one message of application data out of a transport.
func takeMessage(_ transport: inout DTLSTransport) -> [UInt8]? {
  var isTaken = false
  let bytes = [UInt8](writing: 16_384) { (output: inout OutputRawSpan) in
    isTaken = transport.pollApplicationData(into: &output)
  }
  return isTaken ? bytes : nil
}

/// One context for all tests, as a process has it.
let sharedContext: DTLSContext = {
  do { return try DTLSContext() } catch { fatalError("OpenSSL is not usable: \(error)") }
}()
