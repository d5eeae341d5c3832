// SPDX-License-Identifier: Apache-2.0

import ICE
import KinesisVideo
import SansIO
import Testing

@testable import KVSApplications

@Suite("The servers of the signaling service become those of the network")
struct ConnectivityServersTests {
  private static let relay = KinesisVideo.ICEServer(
    urls: ["turn:192.0.2.1:443?transport=udp", "turns:192.0.2.1:443?transport=tcp"], username: "1:a",
    credential: Secret("p"))

  @Test("The region's own STUN server is kept, and relays with their credentials")
  func region() throws {
    let region = try #require(ServiceRegion("eu-west-1"))
    let servers = ConnectivityServers.make(of: [region.stunServer, Self.relay])
    #expect(servers.map(\.urls.count) == [1, 2])
    #expect("\(servers.map(\.username))" == #"[nil, Optional("1:a")]"#)
    #expect(servers.first?.urls.first?.host == "stun.kinesisvideo.eu-west-1.amazonaws.com")
  }

  @Test("Without a STUN server the relays' ports for datagrams are asked for addresses")
  func withoutSTUN() {
    let six = KinesisVideo.ICEServer(urls: [
      "turn:[2001:db8::1]:3478?transport=udp", "turn:[2001:db8::1]:3478?transport=tcp",
    ])
    let servers = ConnectivityServers.make(of: [Self.relay, six])
    #expect(servers.count == 3)
    #expect(servers.first?.username == nil)
    let asked = servers.first?.urls.map { "\($0.service) \($0.host) \($0.port)" }
    #expect(asked == ["stun 192.0.2.1 443", "stun 2001:db8::1 3478"])
  }

  @Test("Addresses that cannot be read are told and left out; nothing leads to nothing")
  func unreadable() {
    var noted: [String] = []
    let odd = KinesisVideo.ICEServer(urls: ["http://192.0.2.1", "turn:", "turn:192.0.2.1?transport=sctp"])
    let servers = ConnectivityServers.make(of: [odd]) { noted.append($0) }
    #expect(servers.isEmpty)
    #expect(noted == odd.urls)
    #expect(ConnectivityServers.make(of: []).isEmpty)
  }
}
