// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import DTLS

/// What a hostile or broken peer may try; the rows of the threat list are in the titles.
@Suite("DTLS against hostile peers")
struct AdversaryTests {
  @Test("T10 garbage that looks like DTLS disturbs neither handshake nor connection")
  func garbage() throws {
    var random = RandomSource(seed: 10)
    let link = try Link.make()
    func pour(_ count: Int) {
      for _ in 0..<count {
        var bytes = random.bytes(Int(random.next() % 200) + 1)
        bytes[0] = UInt8(random.next() % 44) + 20
        // A record that names DTLS 1.2 and its own length exactly is a handshake message, not garbage.
        if bytes.count > 1 { bytes[1] &= 0x7f }
        link.server.receive(bytes.rawSpan, at: link.now)
        link.client.receive(bytes.rawSpan, at: link.now)
      }
    }
    link.start()
    pour(1000)
    link.run(for: .milliseconds(15))
    pour(1000)
    link.run()
    #expect(link.areBothConnected)
    pour(1000)
    link.run()
    #expect(link.clientEvents.count == 1 && link.serverEvents.count == 1)
    try link.client.send([1, 2, 3].rawSpan, at: link.now)
    link.run()
    let message = takeMessage(&link.server)
    #expect(message == [1, 2, 3])
  }

  @Test("T10 every bit flipped in a record after connecting is dropped silently")
  func flippedRecord() throws {
    let link = try Link.make()
    link.start()
    link.run()
    try link.client.send([9, 9, 9].rawSpan, at: link.now)
    let record = try #require(take(&link.client, at: link.now))
    for bit in 0..<(record.count * 8) {
      var damaged = record
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      link.server.receive(damaged.rawSpan, at: link.now)
    }
    link.pump()
    let nothing = takeMessage(&link.server)
    #expect(nothing == nil)
    #expect(link.serverEvents.count == 1)
    link.server.receive(record.rawSpan, at: link.now)
    link.server.receive(record.rawSpan, at: link.now)
    let message = takeMessage(&link.server)
    let replayed = takeMessage(&link.server)
    #expect(message == [9, 9, 9])
    #expect(replayed == nil)
  }

  @Test("T11 each state takes, drops and counts as it should")
  func stateGates() throws {
    let link = try Link.make()
    let hello: [UInt8] = [22, 0xfe, 0xfd] + [UInt8](repeating: 0, count: 10)
    // New: nothing is taken, sent or reported.
    link.server.receive(hello.rawSpan, at: link.now)
    link.server.receive([0x80, 1].rawSpan, at: link.now)
    link.server.receive([UInt8]().rawSpan, at: link.now)
    #expect(throws: DTLSError.notConnected) { try link.server.send([1].rawSpan, at: link.now) }
    let beforeStart = link.server.nextDeadline
    #expect(beforeStart == nil)
    var drops = link.server.drops
    #expect(drops[.notStarted] == 1 && drops[.notDTLS] == 2)
    // Handshaking: no application data.
    link.start()
    #expect(throws: DTLSError.notConnected) { try link.client.send([1].rawSpan, at: link.now) }
    link.server.receive([UInt8](repeating: 22, count: 65_536).rawSpan, at: link.now)
    drops = link.server.drops
    #expect(drops[.datagramTooLong] == 1)
    link.run()
    #expect(link.areBothConnected)
    // Connected: messages up to the datagram's limit.
    let limit = link.client.maximumApplicationDataByteCount
    #expect(limit > 1100)
    #expect(throws: DTLSError.messageTooLong) {
      try link.client.send([UInt8](repeating: 1, count: limit + 1).rawSpan, at: link.now)
    }
    try link.client.send([UInt8](repeating: 1, count: limit).rawSpan, at: link.now)
    link.run()
    let message = takeMessage(&link.server)
    #expect(message?.count == limit)
    // Closed: nothing more.
    link.client.close(at: link.now)
    #expect(throws: DTLSError.notConnected) { try link.client.send([1].rawSpan, at: link.now) }
    link.run()
    #expect(link.serverEvents.last?.isClosed == true)
    #expect(link.clientEvents.count == 1)
    link.server.receive(hello.rawSpan, at: link.now)
    drops = link.server.drops
    #expect(drops[.ended] == 1)
    let deadline = link.server.nextDeadline
    #expect(deadline == nil)
  }

  @Test("T12 the client refuses a server whose certificate is another one")
  func serverInTheMiddle() throws {
    let expected = try DTLSCertificate.generate().fingerprint
    let link = try Link.make(clientExpects: [expected])
    link.start()
    link.run(for: .seconds(1))
    #expect(link.clientFailure == .fingerprintMismatch)
    #expect(link.clientEvents.count == 1)
    #expect(link.serverConnected == nil)
    #expect(link.serverFailure != nil)
    #expect(throws: DTLSError.notConnected) { try link.client.send([1].rawSpan, at: link.now) }
    #expect(throws: DTLSError.notConnected) { try link.server.send([1].rawSpan, at: link.now) }
  }

  @Test("T12 the server refuses a client whose certificate is another one")
  func clientInTheMiddle() throws {
    let expected = try DTLSCertificate.generate().fingerprint
    let link = try Link.make(serverExpects: [expected])
    link.start()
    link.run(for: .seconds(1))
    #expect(link.serverFailure == .fingerprintMismatch)
    #expect(link.serverEvents.count == 1)
    #expect(link.clientConnected == nil)
    #expect(link.clientFailure != nil)
    let message = takeMessage(&link.server)
    #expect(message == nil)
  }

  @Test("T12 without a fingerprint of a strong hash nothing is sent")
  func unsupportedFingerprints() throws {
    let certificate = try DTLSCertificate.generate()
    let sha1 = try #require(certificate.fingerprint(by: .sha1))
    let sha224 = try #require(certificate.fingerprint(by: .sha224))
    for fingerprints in [[], [sha1], [sha1, sha224]] {
      let link = try Link.make(serverCertificate: certificate, clientExpects: fingerprints)
      link.start()
      link.run(for: .seconds(1))
      #expect(link.clientFailure == .unsupportedFingerprint)
      #expect(link.sent.isEmpty)
    }
  }

  @Test("T12 of several fingerprints the strongest hash decides")
  func severalFingerprints() throws {
    let certificate = try DTLSCertificate.generate()
    let other = try DTLSCertificate.generate()
    let right = try CertificateFingerprint.HashFunction.allCases.map {
      try #require(certificate.fingerprint(by: $0))
    }
    let wrong = try CertificateFingerprint.HashFunction.allCases.map {
      try #require(other.fingerprint(by: $0))
    }
    let accepted = [
      right, Array(right.reversed()), [wrong[2], right[2]], [wrong[0], right[3]], [wrong[2], right[4]],
    ]
    for fingerprints in accepted {
      let link = try Link.make(serverCertificate: certificate, clientExpects: fingerprints)
      link.start()
      link.run()
      #expect(link.areBothConnected)
      #expect(link.clientConnected?.remoteCertificateFingerprint == certificate.fingerprint)
    }
    let refused = [wrong, [right[2], wrong[4]], [right[0], wrong[2]], [right[3], wrong[4]]]
    for fingerprints in refused {
      let link = try Link.make(serverCertificate: certificate, clientExpects: fingerprints)
      link.start()
      link.run(for: .seconds(1))
      #expect(link.clientFailure == .fingerprintMismatch)
    }
  }

  @Test("T13 a client without a certificate is refused")
  func noClientCertificate() throws {
    let link = try Link.make(clientHasCertificate: false)
    link.start()
    link.run(for: .seconds(1))
    #expect(link.serverFailure == .noPeerCertificate)
    #expect(link.serverConnected == nil)
  }

  /// A handshake fragment in a record of its own, with a body of zeros.
  private func fragment(
    message: UInt16, sequence: UInt64, total: Int, offset: Int, count: Int, body: Int
  ) -> [UInt8] {
    [UInt8](writing: 2048) { (output: inout OutputRawSpan) in
      output.write(22 as UInt8)
      output.write(0xfefd as UInt16)
      output.write(sequence)
      output.write(UInt16(12 + body))
      output.write(1 as UInt8)
      output.writeUInt24(UInt32(total))
      output.write(message)
      output.writeUInt24(UInt32(offset))
      output.writeUInt24(UInt32(count))
      output.writeZeros(body)
    }
  }

  @Test("T14 fragments that lie about their lengths end this association at worst")
  func lyingFragments() throws {
    let lies = [
      (0xff_ffff, 0, 100, 100), (0xff_ffff, 0xff_0000, 100, 100), (200, 150, 100, 100), (200, 0, 0, 0),
      (1000, 0, 500, 100), (10_000, 5000, 1000, 1000), (10_000, 4500, 1000, 1000), (0, 0, 0, 0), (0, 1, 1, 1),
    ]
    for (total, offset, count, body) in lies {
      for message in [0, 1, 5, 60, 0xffff] as [UInt16] {
        let link = try Link.make()
        link.server.start(at: link.now)
        for sequence in 0..<20 as Range<UInt64> {
          let bytes = fragment(
            message: message, sequence: sequence, total: total, offset: offset, count: count, body: body)
          link.server.receive(bytes.rawSpan, at: link.now)
        }
        link.pump()
        #expect(link.serverConnected == nil)
        #expect(link.serverEvents.count <= 1)
      }
    }
  }

  @Test("T14 fragments of messages far ahead are passed over")
  func futureFragments() throws {
    let link = try Link.make()
    link.server.start(at: link.now)
    // Record numbers within the replay window of 64, so that the client's own stay fresh.
    for message in 11..<60 as Range<UInt16> {
      let bytes = fragment(
        message: message, sequence: UInt64(message), total: 10_000, offset: 0, count: 500, body: 500)
      link.server.receive(bytes.rawSpan, at: link.now)
    }
    link.start()
    link.run()
    #expect(link.areBothConnected)
  }

  @Test("T14 a ClientHello in fragments, in any order and repeated, is put together")
  func fragmentedClientHello() throws {
    let link = try Link.make()
    link.server.start(at: link.now)
    link.client.start(at: link.now)
    let hello = try #require(take(&link.client, at: link.now))
    let body = Array(hello[25...])
    func fragment(_ range: Range<Int>, _ sequence: UInt64) -> [UInt8] {
      [UInt8](writing: 2048) { (output: inout OutputRawSpan) in
        output.write(22 as UInt8)
        output.write(0xfeff as UInt16)
        output.write(sequence)
        output.write(UInt16(12 + range.count))
        output.write(1 as UInt8)
        output.writeUInt24(UInt32(body.count))
        output.write(0 as UInt16)
        output.writeUInt24(UInt32(range.lowerBound))
        output.writeUInt24(UInt32(range.count))
        output.write(Array(body[range]))
      }
    }
    let third = body.count / 3
    let parts = [(2 * third)..<body.count, 0..<(third + 5), 0..<(third + 5), third..<(2 * third)]
    for (sequence, part) in parts.enumerated() {
      link.server.receive(fragment(part, UInt64(sequence)).rawSpan, at: link.now)
    }
    link.run()
    #expect(link.areBothConnected)
  }

  @Test("T15 a client without use_srtp, or with a weak profile only, is refused")
  func noCommonProfile() throws {
    for profiles in [nil, "SRTP_AES128_CM_SHA1_32"] {
      let link = try Link.make(clientContext: DTLSContext(srtpProfiles: profiles))
      link.start()
      link.run(for: .seconds(1))
      #expect(link.serverConnected == nil)
      #expect(link.clientConnected == nil)
      #expect(link.serverFailure == .noCommonSRTPProfile || link.clientFailure == .noCommonSRTPProfile)
    }
  }

  @Test("T12 no second handshake takes place, so no certificate is ever exchanged for another")
  func renegotiation() throws {
    let link = try Link.make()
    link.start()
    link.run()
    let isAsked = link.client.renegotiate(at: link.now)
    #expect(isAsked)
    link.run(for: .seconds(5))
    #expect(link.sent.count > 4)
    #expect(link.serverEvents.compactMap(\.connected).count == 1)
    #expect(link.clientEvents.compactMap(\.connected).count == 1)
  }

  @Test("A goodbye is answered, and only an authentic one counts")
  func closing() throws {
    let link = try Link.make()
    link.start()
    link.run()
    // close_notify in the clear, as anybody can write it.
    let forged: [UInt8] = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 1, 0]
    link.client.receive(forged.rawSpan, at: link.now)
    link.pump()
    #expect(link.clientEvents.count == 1)
    link.server.close(at: link.now)
    link.run()
    #expect(link.clientEvents.last?.isClosed == true)
    #expect(link.serverEvents.count == 1)
  }

  @Test("Messages that nobody takes are dropped at the queue's limit and counted")
  func boundedQueues() throws {
    let link = try Link.make()
    link.start()
    link.run()
    for _ in 0..<200 {
      try link.client.send([UInt8](repeating: 7, count: 1000).rawSpan, at: link.now)
      link.pump()
    }
    link.run()
    let drops = link.server.drops
    #expect(drops[.applicationDataQueueFull] > 90)
    var taken = 0
    while takeMessage(&link.server) != nil { taken += 1 }
    #expect(taken + Int(drops[.applicationDataQueueFull]) == 200)
    for _ in 0..<200 { try link.client.send([UInt8](repeating: 7, count: 1000).rawSpan, at: link.now) }
    let outputDrops = link.client.drops
    #expect(outputDrops[.outputQueueFull] > 90)
  }
}
