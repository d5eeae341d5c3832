// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import DTLS

/// Goal: what SCTP's packets take through DTLS: lent memory in and out, without a stop in any queue.
@Suite("Application data through lent memory")
struct LentMemoryTests {
  private func connected(maximumDatagramByteCount: Int = 1200) throws -> Link {
    let link = try Link.make(maximumDatagramByteCount: maximumDatagramByteCount)
    link.start()
    link.run()
    #expect(link.areBothConnected)
    return link
  }

  private func seal(_ message: [UInt8], by transport: inout DTLSTransport, room: Int = 1200) throws -> [UInt8]
  {
    var failure: DTLSError?
    let datagram = [UInt8](writing: room) { out in
      do throws(DTLSError) { try transport.seal(message.rawSpan, into: &out, at: .zero) } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return datagram
  }

  private func open(_ datagram: [UInt8], by transport: inout DTLSTransport) -> [UInt8] {
    [UInt8](writing: datagram.count) { transport.receive(datagram.rawSpan, into: &$0, at: .zero) }
  }

  @Test("A sealed message opens on the other side, of any length that fits", arguments: [1, 2, 1000, 1163])
  func roundTrip(byteCount: Int) throws {
    let link = try connected()
    let message = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0) }
    let datagram = try seal(message, by: &link.client)
    #expect(datagram.count == byteCount + 37)
    let opened = open(datagram, by: &link.server)
    #expect(opened == message)
    // Neither queue was used.
    let (output, queued) = (take(&link.client, at: link.now), link.server.nextApplicationDataByteCount)
    #expect(output == nil && queued == nil)
  }

  @Test(
    "What does not fit is refused: the datagram's limit, the lent memory, a transport that is not connected")
  func refusals() throws {
    let link = try connected()
    let longest = link.client.maximumApplicationDataByteCount
    #expect(longest == 1163)
    #expect(throws: DTLSError.messageTooLong) {
      try seal([UInt8](repeating: 1, count: 1164), by: &link.client)
    }
    link.client.close(at: link.now)
    #expect(throws: DTLSError.notConnected) { try seal([1], by: &link.client) }
    let new = try Link.make()
    #expect(throws: DTLSError.notConnected) { try seal([1], by: &new.client) }
  }

  @Test("Two records in one datagram: the first goes to the lent memory, the second to the queue")
  func twoRecords() throws {
    let link = try connected()
    let (one, two) = (try seal([1, 2, 3], by: &link.client), try seal([4, 5], by: &link.client))
    let both = one + two
    let first = open(both, by: &link.server)
    let second = takeMessage(&link.server)
    #expect(first == [1, 2, 3] && second == [4, 5])
  }

  @Test("What is forged, repeated or a goodbye leaves nothing in the lent memory")
  func nothingToOpen() throws {
    let link = try connected()
    let good = try seal([1, 2, 3], by: &link.client)
    var forged = good
    forged[forged.count - 1] ^= 1
    let fromForged = open(forged, by: &link.server)
    let fromGood = open(good, by: &link.server)
    let fromRepeated = open(good, by: &link.server)
    #expect(fromForged.isEmpty && fromGood == [1, 2, 3] && fromRepeated.isEmpty)
    #expect(link.server.nextApplicationDataByteCount == nil)
    link.client.close(at: link.now)
    let goodbye = try #require(take(&link.client, at: link.now))
    let fromGoodbye = open(goodbye, by: &link.server)
    link.pump()
    #expect(fromGoodbye.isEmpty && link.serverEvents.last?.isClosed == true)
  }

  @Test("Before the handshake ended, messages take the queue, whichever way they come")
  func beforeTheEnd() throws {
    let link = try Link.make()
    link.start()
    let datagram = try #require(link.inFlight.first)
    let nothing = open(datagram.bytes, by: &link.server)
    #expect(nothing.isEmpty)
    link.inFlight.removeFirst()
    link.run()
    #expect(link.areBothConnected)
  }

  @Test("Without SRTP on the other side: fine where it is not required, by either role")
  func withoutSRTP() throws {
    for requires in [false, true] {
      let weak = try DTLSContext(srtpProfiles: nil)
      let (mine, its) = (try sharedContext.makeCertificate(), try weak.makeCertificate())
      for weakRole in [DTLSRole.client, .server] {
        let strong = try DTLSTransport(
          context: sharedContext, certificate: mine, role: weakRole == .client ? .server : .client,
          remoteFingerprints: [its.fingerprint], initialTimeout: .milliseconds(50), requiresSRTP: requires)
        let other = try DTLSTransport(
          context: weak, certificate: its, role: weakRole, remoteFingerprints: [mine.fingerprint],
          initialTimeout: .milliseconds(50), requiresSRTP: false)
        let link =
          weakRole == .client ? Link(client: other, server: strong) : Link(client: strong, server: other)
        link.start()
        link.run(for: .seconds(2))
        #expect(link.areBothConnected == !requires, "\(weakRole)")
        let connected = weakRole == .client ? link.serverConnected : link.clientConnected
        #expect(connected?.srtp == nil)
        let failure = weakRole == .client ? link.serverFailure : link.clientFailure
        #expect(failure == (requires ? .noCommonSRTPProfile : nil))
      }
    }
  }
}
