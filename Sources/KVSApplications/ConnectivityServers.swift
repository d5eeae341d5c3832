// SPDX-License-Identifier: Apache-2.0

import ICE
import KinesisVideo

/// The servers that the signaling service named, in the terms of the network.
enum ConnectivityServers {
  /// Reads the servers' addresses; those that cannot be read are given to `note` and left out.
  ///
  /// The real service's region has a STUN server of its own, which the signaling client has put first. Where there is
  /// none, the relays' own ports are asked for our addresses, as every TURN server answers that (RFC 8656 §3).
  static func make(
    of servers: [KinesisVideo.ICEServer], note: (_ url: String) -> Void = { _ in }
  ) -> [ICE.ICEServer] {
    var made: [ICE.ICEServer] = []
    for server in servers {
      let urls = server.urls.compactMap { text -> ICEServerURL? in
        guard let url = try? ICEServerURL(parsing: text) else {
          note(text)
          return nil
        }
        return url
      }
      if !urls.isEmpty {
        made.append(ICE.ICEServer(urls: urls, username: server.username, credential: server.credential))
      }
    }
    let all = made.flatMap(\.urls)
    guard !all.contains(where: { $0.service == .stun }) else { return made }
    let relays = all.filter { $0.service == .turn && $0.transport == .udp }
    let own = relays.compactMap { relay in
      try? ICEServerURL(
        parsing: "stun:" + (relay.host.contains(":") ? "[\(relay.host)]" : relay.host) + ":\(relay.port)")
    }
    return own.isEmpty ? made : [ICE.ICEServer(urls: own)] + made
  }
}
