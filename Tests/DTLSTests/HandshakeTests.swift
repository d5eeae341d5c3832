// SPDX-License-Identifier: Apache-2.0

import CVirtualClock
import SansIO
import Testing

@testable import DTLS

/// Whole handshakes between two transports in virtual time. Naming the clock's function links it.
@Suite("DTLS handshake, RFC 6347 and RFC 5764")
struct HandshakeTests {
  init() { cvc_clear_time() }

  @Test("Both roles connect in two round trips and export the same keys")
  func connects() throws {
    let link = try Link.make()
    link.start()
    link.run()
    let client = try #require(link.clientConnected)
    let server = try #require(link.serverConnected)
    #expect(client.srtp?.material == server.srtp?.material)
    #expect(client.srtp?.material.unredacted.count == 56)
    #expect(Set(client.srtp?.material.unredacted ?? []).count > 20)
    #expect((client.role, server.role) == (.client, .server))
    #expect(client.srtp?.profile == 0x0007 && server.srtp?.profile == 0x0007)
    #expect(client.version == "FEFD")
    #expect(client.cipherSuite == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    #expect(server.cipherSuite == client.cipherSuite)
    let end = link.clientEndedAt
    #expect(end == .zero + .milliseconds(40))
    #expect(link.sent.count == 4)
    let deadline = link.client.nextDeadline
    #expect(deadline == nil)
    let firstBytes = (client.srtp?.material.unredacted ?? []).prefix(4).map(String.init).joined(
      separator: ", ")
    #expect(!"\(client)".contains(firstBytes))
  }

  @Test(
    "Client and server agree on the server's first choice of the common profiles",
    arguments: [
      ("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM", 0x0007 as UInt16, 56),
      ("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", 0x0008, 88), ("SRTP_AES128_CM_SHA1_80", 0x0001, 60),
    ])
  func profiles(_ offered: String, _ expected: UInt16, _ byteCount: Int) throws {
    let link = try Link.make(clientContext: DTLSContext(srtpProfiles: offered))
    link.start()
    link.run()
    let client = try #require(link.clientConnected)
    let server = try #require(link.serverConnected)
    #expect(client.srtp?.profile == expected && server.srtp?.profile == expected)
    #expect(client.srtp?.material == server.srtp?.material)
    #expect(client.srtp?.material.unredacted.count == byteCount)
  }

  @Test("The loss of any one datagram costs a repeated flight and no more", arguments: 0..<4)
  func singleLoss(_ number: Int) throws {
    for byteCount in [1200, 400] {
      let link = try Link.make(maximumDatagramByteCount: byteCount)
      link.lostNumbers = [number]
      link.start()
      link.run()
      #expect(link.areBothConnected)
      let end = max(link.clientEndedAt ?? .zero, link.serverEndedAt ?? .zero)
      #expect(end <= .zero + .milliseconds(200))
      #expect(link.sent.allSatisfy { $0.count <= byteCount })
      #expect(link.clientConnected?.srtp?.material == link.serverConnected?.srtp?.material)
    }
  }

  @Test("The loss of any two datagrams among the first ten, repetitions included, heals too")
  func pairLoss() throws {
    for first in 0..<9 {
      for second in (first + 1)..<10 {
        let link = try Link.make()
        link.lostNumbers = [first, second]
        link.start()
        link.run()
        #expect(link.areBothConnected, "lost \(first) and \(second)")
        #expect(max(link.clientEndedAt ?? .zero, link.serverEndedAt ?? .zero) <= .zero + .milliseconds(500))
      }
    }
  }

  @Test("Timeouts double from the first, and after 30 seconds it is over")
  func timesOut() throws {
    let link = try Link.make()
    link.lostNumbers = Set(0..<100)
    link.start()
    var deadlines: [Double] = []
    while let deadline = link.client.nextDeadline, deadlines.count < 20 {
      deadlines.append((deadline - .zero).inSeconds)
      link.now = deadline
      link.client.handleTimeout(at: deadline)
      link.pump()
    }
    #expect(link.clientFailure == .timedOut)
    #expect(deadlines.last == 30)
    #expect(deadlines.count <= 14)
    #expect((0.035...0.05).contains(try #require(deadlines.first)))
    let isSilent = take(&link.client, at: link.now) == nil
    #expect(isSilent)
  }

  @Test("A simulated context repeats a handshake byte for byte, another seed does not")
  func repeats() throws {
    func datagrams(seed: UInt64) throws -> [[UInt8]] {
      let link = try Link.make(context: DTLSContext(simulationSeed: seed))
      link.start()
      link.run()
      #expect(link.areBothConnected)
      return link.sent
    }
    let first = try datagrams(seed: 1)
    let again = try datagrams(seed: 1)
    let other = try datagrams(seed: 2)
    #expect(first == again)
    #expect(first != other)
  }

  @Test("A certificate outlives the simulated context that it came from")
  func certificateKeepsItsContext() throws {
    func makeCertificate() throws -> DTLSCertificate { try DTLSContext(simulationSeed: 3).makeCertificate() }
    let certificate = try makeCertificate()
    let again = try makeCertificate()
    #expect(certificate.fingerprint == again.fingerprint)
  }

  @Test("T41 every generated certificate is another one")
  func distinctCertificates() throws {
    var seen: Set<CertificateFingerprint> = []
    for _ in 0..<200 { seen.insert(try DTLSCertificate.generate().fingerprint) }
    #expect(seen.count == 200)
  }
}
