// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SansIO
import Testing

@testable import DTLS

/// A client and a server with one of the certificates that the TLS tests of the service use, in virtual time.
@Suite("DTLSClient: servers that an authority vouches for, RFC 7350, RFC 9525")
struct DTLSClientTests {
  @Test(
    "a server is believed for its name and for its address; messages flow both ways",
    arguments: ["localhost", "127.0.0.1", "LOCALHOST"])
  func good(host: String) throws {
    let link = try ServerLink(certificate: "good", host: host)
    link.start()
    link.run()
    #expect(link.clientEvents == [.connected])
    #expect(link.serverEvents == [.connected])
    try link.client.send([1, 2, 3].rawSpan, at: link.now)
    try link.server.send([4, 5].rawSpan, at: link.now)
    link.run()
    #expect(link.serverMessages == [[1, 2, 3]])
    #expect(link.clientMessages == [[4, 5]])
    link.server.close(at: link.now)
    link.run()
    #expect(link.clientEvents == [.connected, .closed])
  }

  @Test(
    "T38 a server with a bad certificate is refused inside the handshake and gets no message",
    arguments: [
      ("wrong-host", "localhost", "hostname mismatch"), ("wrong-host", "127.0.0.1", "IP address mismatch"),
      ("good", "elsewhere.test", "hostname mismatch"), ("good", "127.0.0.2", "IP address mismatch"),
      ("good", "localhost.evil.test", "hostname mismatch"),
      ("expired", "localhost", "certificate has expired"),
      ("future", "localhost", "certificate is not yet valid"),
      ("self-signed", "localhost", "self-signed certificate"),
      ("unknown-authority", "localhost", "unable to get local issuer certificate"),
    ])
  func bad(certificate: String, host: String, reason: String) throws {
    let link = try ServerLink(certificate: certificate, host: host)
    link.start()
    link.run()
    #expect(link.clientEvents == [.failed(.certificate(reason))])
    #expect(!link.serverEvents.contains(.connected))
    #expect(throws: DTLSError.notConnected) { try link.client.send([1].rawSpan, at: link.now) }
  }

  @Test("a private authority is not believed by who trusts the system's alone, and no authority is an error")
  func anchors() throws {
    let link = try ServerLink(certificate: "good", host: "localhost", anchors: .system)
    link.start()
    link.run()
    #expect(link.clientEvents.map(\.isCertificateFailure) == [true])
    #expect(throws: DTLSError.unavailable) { try DTLSClientContext(trusting: .pem("nothing")) }
    #expect(throws: DTLSError.unavailable) { try DTLSClientContext(trusting: .file("/nonexistent")) }
    let damaged = try TestCertificates.pem("authority").replacing("MII", with: "MIx")
    #expect(throws: DTLSError.unavailable) { try DTLSClientContext(trusting: .pem(damaged)) }
    let context = try DTLSClientContext(trusting: .pem(try TestCertificates.pem("authority")))
    #expect(throws: DTLSError.unavailable) { _ = try DTLSClient(context: context, host: "") }
  }

  @Test("a lost datagram is sent again after 250 ms, whichever it is", arguments: 0..<8)
  func loss(number: Int) throws {
    let link = try ServerLink(certificate: "good", host: "localhost")
    link.lostNumbers = [number]
    link.start()
    link.run()
    #expect(link.clientEvents == [.connected])
    #expect(link.now - Instant.zero < TimeDelta.milliseconds(600))
  }

  @Test("a server that does not answer is given up after 10 s")
  func silence() throws {
    let link = try ServerLink(certificate: "good", host: "localhost")
    link.lostNumbers = Set(0..<1000)
    link.start()
    link.run()
    #expect(link.clientEvents == [.failed(.timedOut)])
    #expect(link.now - Instant.zero == DTLSClient.handshakeDurationMax)
    let deadline = link.client.nextDeadline
    #expect(deadline == nil)
  }

  @Test(
    "a certificate is for the names and addresses that it lists, each kind compared with its own",
    arguments: [
      ("good", "localhost", true), ("good", "LocalHost", true), ("good", "127.0.0.1", true),
      ("good", "a.localhost", false), ("good", "good", false), ("good", "127.0.0.2", false),
      ("good", "::1", false), ("good", "", false), ("wrong-host", "192.0.2.1", true),
      ("wrong-host", "localhost", false), ("wrong-host", "127.0.0.1", false),
    ])
  func identity(certificate: String, host: String, isFor: Bool) throws {
    let der = try TestCertificates.der(certificate)
    #expect(ServerIdentity.isCertificate(der, for: host) == isFor)
    #expect(!ServerIdentity.isCertificate(Array(der.dropLast()), for: host))
  }

  @Test("garbage from the server's address disturbs nothing")
  func garbage() throws {
    var random = RandomSource(seed: 7350)
    let link = try ServerLink(certificate: "good", host: "localhost")
    link.start()
    for _ in 0..<500 {
      var bytes = random.bytes(Int(random.next() % 200) + 2)
      bytes[0] = UInt8(random.next() % 44) + 20
      bytes[1] &= 0x7f
      link.client.receive(bytes.rawSpan, at: link.now)
    }
    link.client.receive([0x80, 1].rawSpan, at: link.now)
    link.run()
    #expect(link.clientEvents == [.connected])
    let drops = link.client.drops
    #expect(drops[.notDTLS] == 1)
  }
}

extension DTLSClient.Event {
  fileprivate var isCertificateFailure: Bool {
    if case .failed(.certificate) = self { true } else { false }
  }
}

/// The certificates that the tests of the service's TLS use; a script beside them makes them.
enum TestCertificates {
  static func pem(_ name: String) throws -> String {
    let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let file = tests.appending(path: "KinesisVideoTests/Certificates/\(name)")
    return try String(
      contentsOf: file.pathExtension.isEmpty ? file.appendingPathExtension("pem") : file, encoding: .utf8)
  }

  static func der(_ name: String) throws -> [UInt8] {
    let lines = try pem(name).split(separator: "\n").filter { !$0.hasPrefix("-") }
    return Array(try #require(Data(base64Encoded: lines.joined())))
  }
}

/// A client and a server with 10 ms between them. Datagrams are numbered in the order of sending, over both
/// directions; a test names those that get lost.
private final class ServerLink {
  var client: DTLSClient
  var server: DTLSClient
  var now = Instant.zero
  var lostNumbers: Set<Int> = []
  private var sentCount = 0
  private var inFlight: [(arrival: Instant, isForServer: Bool, bytes: [UInt8])] = []
  var clientEvents: [DTLSClient.Event] = []
  var serverEvents: [DTLSClient.Event] = []
  var clientMessages: [[UInt8]] = []
  var serverMessages: [[UInt8]] = []

  init(
    certificate: String, host: String, anchors: DTLSClientContext.TrustAnchors? = nil
  ) throws {
    let trusted = try anchors ?? .pem(TestCertificates.pem("authority"))
    client = try DTLSClient(context: try DTLSClientContext(trusting: trusted), host: host)
    let context = try DTLSClientContext(
      servingWith: try TestCertificates.pem(certificate), key: try TestCertificates.pem("server.key"))
    server = try DTLSClient(context: context, host: "client.test")
  }

  func start() {
    server.start(at: now)
    client.start(at: now)
    pump()
  }

  func run(for duration: TimeDelta = .seconds(60)) {
    let end = now + duration
    for _ in 0..<10_000 {
      pump()
      let deadlines = Instant.earliest(client.nextDeadline, server.nextDeadline)
      guard let next = Instant.earliest(inFlight.first?.arrival, deadlines), next <= end else { return }
      // Once the client is done and nothing is under way, the server's patience is of no interest.
      if inFlight.isEmpty, client.nextDeadline == nil { return }
      now = max(now, next)
      while let datagram = inFlight.first, datagram.arrival <= now {
        inFlight.removeFirst()
        if datagram.isForServer {
          server.receive(datagram.bytes.rawSpan, at: now)
        } else {
          client.receive(datagram.bytes.rawSpan, at: now)
        }
      }
      client.handleTimeout(at: now)
      server.handleTimeout(at: now)
    }
  }

  private func pump() {
    while let datagram = Self.take(&client, at: now) { enqueue(datagram, isForServer: true) }
    while let datagram = Self.take(&server, at: now) { enqueue(datagram, isForServer: false) }
    while let event = client.pollEvent() { clientEvents.append(event) }
    while let event = server.pollEvent() { serverEvents.append(event) }
    while let message = Self.takeMessage(&client) { clientMessages.append(message) }
    while let message = Self.takeMessage(&server) { serverMessages.append(message) }
  }

  private func enqueue(_ bytes: [UInt8], isForServer: Bool) {
    if !lostNumbers.contains(sentCount) {
      inFlight.append((now + .milliseconds(10), isForServer, bytes))
    }
    sentCount += 1
  }

  private static func take(_ client: inout DTLSClient, at now: Instant) -> [UInt8]? {
    guard let count = client.nextDatagramByteCount else { return nil }
    return [UInt8](writing: count) { (output: inout OutputRawSpan) in
      _ = client.pollTransmit(into: &output, at: now)
    }
  }

  private static func takeMessage(_ client: inout DTLSClient) -> [UInt8]? {
    guard let count = client.nextMessageByteCount else { return nil }
    return [UInt8](writing: count) { (output: inout OutputRawSpan) in
      _ = client.pollMessage(into: &output)
    }
  }
}
