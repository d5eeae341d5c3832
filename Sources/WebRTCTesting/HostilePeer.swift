// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SRTP
public import SansIO
public import WebRTCCore

/// A peer that is authenticated and means harm: it has keys like any other, and sends what it likes under them.
///
/// It answers the victim's offer, connects by ICE and DTLS as it should, and then ``sendRTP(_:)`` and
/// ``sendRTCP(_:)`` protect any plaintext that a test makes up. It runs in virtual time of its own.
public final class HostilePeer {
  /// One RTP packet before protection. The payload is not checked in any way.
  public struct Packet {
    /// The source that it claims.
    public var ssrc: UInt32
    /// Roll-over counter and sequence number.
    public var index: Int64
    /// 0 to 127.
    public var payloadType: UInt8
    /// The RTP timestamp.
    public var timestamp: UInt32 = 0
    /// The marker bit.
    public var marker = false
    /// The padding bit, whatever the payload's last byte says.
    public var hasPadding = false
    /// One-byte header extensions, written behind 0xBEDE; empty for none. A multiple of four bytes.
    public var extensions: [UInt8] = []
    /// What follows the header.
    public var payload: [UInt8]

    /// Makes a packet.
    public init(ssrc: UInt32, index: Int64, payloadType: UInt8, payload: [UInt8]) {
      self.ssrc = ssrc
      self.index = index
      self.payloadType = payloadType
      self.payload = payload
    }

    fileprivate var header: [UInt8] {
      [UInt8](writing: 16 + extensions.count) { out in
        out.write(0x80 | (hasPadding ? 0x20 : 0) | (extensions.isEmpty ? 0 : 0x10) as UInt8)
        out.write((marker ? 0x80 : 0) | payloadType & 0x7f)
        out.write(UInt16(truncatingIfNeeded: index))
        out.write(timestamp)
        out.write(ssrc)
        guard !extensions.isEmpty else { return }
        out.write(0xbede as UInt16)
        out.write(UInt16(extensions.count / 4))
        out.write(extensions)
      }
    }
  }

  /// The connection that it attacks.
  public let victim: SimulatedPeer
  /// The virtual time.
  public private(set) var now = Instant.zero
  /// Datagrams that the victim sent after the handshake, SRTP and SRTCP as they were on the wire.
  public private(set) var received: [[UInt8]] = []
  /// Datagrams and bytes of media that came from the victim; ``received`` keeps the first hundred of them.
  public private(set) var receivedMediaByteCount = 0

  private let socket: LocalSocket
  private let certificate: DTLSCertificate
  private let context: DTLSContext
  private var network: SimulatedNetwork
  private var ice: ICEAgent
  private var dtls: DTLSTransport?
  private var keys: (profile: SRTPProtectionProfile, local: SRTPKeys)?
  private var rtpProtector: SRTPProtector?
  private var rtcpProtector: SRTPProtector?
  private var victimFingerprints: [CertificateFingerprint] = []

  /// Makes the victim and its attacker; `prepare` adds the victim's transceivers.
  public init(seed: UInt64, prepare: (inout PeerConnectionCore) -> Void) throws {
    VirtualClock.install()
    context = try DTLSContext(simulationSeed: seed)
    certificate = try context.makeCertificate()
    socket = LocalSocket(id: 0, address: .simulated(host: 66))
    network = SimulatedNetwork(conditions: LinkConditions(delay: .milliseconds(5)), seed: seed)
    ice = ICEAgent(role: .controlled, random: RandomSource(seed: seed &* 11 &+ 4))
    dtls = nil
    rtpProtector = nil
    rtcpProtector = nil
    victim = try SimulatedPeer(
      addresses: [.simulated(host: 1)], dtls: context, seed: seed &* 13 &+ 5, at: now)
    prepare(&victim.core)
  }

  /// Answers the victim's offer and runs until both have keys.
  ///
  /// - Parameter alteringAnswer: what else the answer lies about.
  /// - Returns: whether it came so far.
  public func connect(alteringAnswer: (String) -> String = { $0 }) throws -> Bool {
    let offer = try victim.core.createOffer(at: now)
    try victim.core.setLocalDescription(offer, at: now)
    let answer = alteringAnswer(try makeAnswer(to: offer))
    try victim.core.setRemoteDescription(SessionDescriptionInit(type: .answer, sdp: answer), at: now)
    var isConnected = false
    run(atMost: .seconds(10)) { peer in
      isConnected = peer.isConnected
      return isConnected
    }
    return isConnected
  }

  /// Whether both sides have keys.
  public var isConnected: Bool {
    keys != nil && victim.connectionState == .connected
  }

  /// A benign answer of ours, with this peer's transport in it.
  private func makeAnswer(to offer: SessionDescriptionInit) throws -> String {
    let puppet = try SimulatedPeer(addresses: [socket.address], dtls: context, seed: 1, at: now)
    try puppet.core.setRemoteDescription(offer, at: now)
    let answer = try puppet.core.createAnswer(at: now)
    guard let candidate = ice.addLocalCandidate(socket: socket, at: now) else { return answer.sdp }
    let (fragment, password) = (ice.localCredentials.usernameFragment, ice.localCredentials.password)
    readTransport(of: offer.sdp)
    return Self.lines(of: answer.sdp).map { line in
      if line.hasPrefix("a=ice-ufrag:") { return "a=ice-ufrag:\(fragment)" }
      if line.hasPrefix("a=candidate:") { return "a=\(candidate.attributeValue)" }
      if line.hasPrefix("a=ice-pwd:") { return "a=ice-pwd:\(password.unredacted)" }
      if line.hasPrefix("a=fingerprint:") { return "a=fingerprint:\(certificate.fingerprint.attributeValue)" }
      return line
    }.joined(separator: "\r\n")
  }

  private func readTransport(of offer: String) {
    var fragment = ""
    var password = ""
    for line in Self.lines(of: offer) {
      if line.hasPrefix("a=ice-ufrag:") { fragment = String(line.dropFirst(12)) }
      if line.hasPrefix("a=ice-pwd:") { password = String(line.dropFirst(10)) }
      guard line.hasPrefix("a=fingerprint:") else { continue }
      if let fingerprint = try? CertificateFingerprint(parsing: String(line.dropFirst(14))) {
        victimFingerprints = [fingerprint]
      }
    }
    ice.setRemoteCredentials(ICECredentials(usernameFragment: fragment, password: Secret(password)), at: now)
  }

  private static func lines(of sdp: String) -> [String] {
    sdp.split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
  }

  // MARK: Attacks

  /// Protects and sends one RTP packet. Its index has to be above the source's last one.
  public func sendRTP(_ packet: Packet) throws {
    do throws(SRTPError) { try deliver(protectRTP(packet)) } catch {
      // We hold back from more sources than a receiver takes; an attacker does not.
      guard error == .tooManyStreams, let keys else { throw error }
      rtpProtector = try SRTPProtector(profile: keys.profile, keys: keys.local)
      deliver(try protectRTP(packet))
    }
  }

  /// Protects and sends one compound RTCP packet, eight bytes at least.
  public func sendRTCP(_ compound: [UInt8]) throws {
    var error: SRTPError?
    let bytes = [UInt8](writing: compound.count + 32) { out in
      do throws(SRTPError) { try rtcpProtector?.protectRTCP(compound.rawSpan, into: &out) } catch let cause {
        error = cause
      }
    }
    if let error { throw error }
    deliver(bytes)
  }

  /// Encrypts and sends application data: what SCTP's packets are to DTLS.
  public func sendApplicationData(_ bytes: [UInt8]) throws {
    try dtls?.send(bytes.rawSpan, at: now)
    drain()
    run(atMost: .milliseconds(20))
  }

  private func protectRTP(_ packet: Packet) throws(SRTPError) -> [UInt8] {
    let header = packet.header
    var error: SRTPError?
    let bytes = [UInt8](writing: header.count + packet.payload.count + 32) { out in
      do throws(SRTPError) {
        try rtpProtector?.protectRTP(
          header: header.rawSpan, prefix: header.rawSpan.extracting(first: 0),
          payload: packet.payload.rawSpan, packetIndex: packet.index, into: &out)
      } catch let cause {
        error = cause
      }
    }
    if let error { throw error }
    return bytes
  }

  private func deliver(_ bytes: [UInt8]) {
    network.inject(bytes, from: socket.address, to: .simulated(host: 1), at: now)
    step()
  }

  // MARK: Time

  /// Runs until `condition` holds, at most until `limit` from now.
  public func run(atMost limit: TimeDelta, until condition: (HostilePeer) -> Bool = { _ in false }) {
    let end = now + limit
    drain()
    for _ in 0..<Simulation.stepsMax where !condition(self) {
      guard let next = nextEvent, next <= end else { break }
      now = max(now, next)
      step()
    }
    if !condition(self) { now = max(now, end) }
  }

  private var nextEvent: Instant? {
    var next = Instant.earliest(network.nextArrival, victim.core.nextDeadline)
    next = Instant.earliest(next, ice.nextDeadline)
    switch dtls {
    case .some(let transport): return Instant.earliest(next, transport.nextDeadline)
    case .none: return next
    }
  }

  private func step() {
    while let delivery = network.receive(at: now) {
      if let local = victim.socket(at: delivery.destination) {
        victim.core.receive(
          delivery.bytes.rawSpan, on: Route(receivedOn: local, from: delivery.source), at: now)
      } else if delivery.destination == socket.address {
        receive(delivery.bytes, from: delivery.source)
      }
      drain()
    }
    if let deadline = victim.core.nextDeadline, deadline <= now { victim.core.handleTimeout(at: now) }
    ice.handleTimeout(at: now)
    dtls?.handleTimeout(at: now)
    drain()
  }

  private func receive(_ bytes: [UInt8], from source: TransportAddress) {
    switch bytes.first ?? 255 {
    case 0...3: ice.receive(bytes.rawSpan, on: Route(receivedOn: socket, from: source), at: now)
    case 20...63: dtls?.receive(bytes.rawSpan, at: now)
    default:
      receivedMediaByteCount += bytes.count
      if received.count < 100 { received.append(bytes) }
    }
  }

  private func drain() {
    victim.drain(into: &network, at: now)
    victim.trickled = []
    startDTLS()
    takeDTLSEvents()
    var isDone = false
    while !isDone {
      var remote: TransportAddress?
      let bytes = [UInt8](writing: 16_000) { out in
        if let check = ice.pollTransmit(into: &out, at: now) {
          remote = check.route.remote
        } else if let route = ice.sendRoute, dtls?.pollTransmit(into: &out, at: now) == true {
          remote = route.remote
        }
      }
      guard let remote else {
        isDone = true
        continue
      }
      network.send(bytes, from: socket.address, to: remote, at: now)
    }
    while ice.pollEvent() != nil {}
  }

  private func startDTLS() {
    guard dtls == nil, ice.sendRoute != nil else { return }
    // Our answers are passive (RFC 5763 §5).
    guard
      var transport = try? DTLSTransport(
        context: context, certificate: certificate, role: .server, remoteFingerprints: victimFingerprints,
        initialTimeout: .milliseconds(50))
    else { return }
    transport.start(at: now)
    dtls = consume transport
  }

  private func takeDTLSEvents() {
    guard dtls != nil, let event = dtls?.pollEvent(), case .connected(let connected) = event,
      let keying = connected.srtp,
      let profile = SRTPProtectionProfile(rawValue: keying.profile),
      let keys = try? SRTPKeys.split(
        keying.material, profile: profile, isClient: connected.role == .client)
    else { return }
    self.keys = (profile, keys.local)
    rtpProtector = try? SRTPProtector(profile: profile, keys: keys.local)
    rtcpProtector = try? SRTPProtector(profile: profile, keys: keys.local)
  }
}
