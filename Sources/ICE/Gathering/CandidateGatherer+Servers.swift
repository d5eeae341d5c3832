// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Servers and their names.
extension CandidateGatherer {
  /// Takes the servers that are to be used from now on. Relays that have owners live on under the credentials that
  /// made them; spares are replaced, each when its successor stands.
  ///
  /// Until the first call no owner is told that gathering is complete before its time is over.
  public mutating func update(servers: [ICEServer], at now: Instant) {
    guard !isShuttingDown else { return }
    let used = usable(servers)
    let isChanged = used != self.servers
    self.servers = used
    failedURLs.formIntersection(servers.flatMap(\.urls))
    names.keepOnly(used)
    for server in used { want(server.url, at: now) }
    for index in sockets.indices { refreshProbes(of: index, at: now) }
    if isChanged { beginAgain(isOtherNetwork: false, at: now) }
    settle(at: now)
  }

  /// The URLs that can be used, each once, and a word about those that cannot.
  private mutating func usable(_ servers: [ICEServer]) -> [UsedServer] {
    var result: [UsedServer] = []
    for (serverIndex, server) in servers.enumerated() {
      for (urlIndex, url) in server.urls.enumerated() where !result.contains(where: { $0.url == url }) {
        guard serverIndex < RelayLimits.serversMax, urlIndex < RelayLimits.urlsPerServerMax else {
          report(url, reason: "there are too many servers")
          continue
        }
        switch (url.service, url.isSecure) {
        case (.stun, true):
          report(url, reason: "over TLS no server sees the address of a socket that peers could reach")
        case (.stun, false): result.append(UsedServer(url: url))
        case (.turn, _):
          guard let username = server.username, let password = server.credential,
            username.utf8.count <= TURNLimits.usernameByteCountMax
          else {
            report(url, reason: "the credentials are missing, or the user name is too long")
            continue
          }
          result.append(UsedServer(url: url, username: username, password: password))
        }
      }
    }
    return result
  }

  /// The URLs that relays come from.
  var relayServers: [UsedServer] { servers?.filter { $0.url.service == .turn } ?? [] }

  /// Whether a URL is in use under the very same credentials.
  func isCurrent(_ server: UsedServer) -> Bool { servers?.contains(server) ?? false }

  /// Has a URL's name looked up unless that was done.
  mutating func want(_ url: ICEServerURL, isAgain: Bool = false, at now: Instant) {
    if names.want(url, isAgain: isAgain, until: now + configuration.openTimeout, at: now) {
      perform(.resolve(host: url.host))
    }
  }

  /// Answers ``Action/resolve(host:)``: the name's addresses in the resolver's order; none if it could not.
  public mutating func resolved(host: String, to addresses: [IPAddress], at now: Instant) {
    let isNews = !names.hasAddresses(host)
    guard names.resolved(host, to: addresses, random: &random, at: now) else { return }
    nameSettled(host, at: now)
    if isNews, names.hasAddresses(host) { beginAgain(isOtherNetwork: false, at: now) }
    settle(at: now)
  }

  /// Goes on with what waited for a name.
  private mutating func nameSettled(_ host: String, at now: Instant) {
    for server in servers ?? [] where server.url.host == host {
      let hasAddresses = names.addresses(of: server.url) != nil
      if !hasAddresses, server.url.service == .stun {
        report(server.url, reason: "the name does not resolve")
      }
    }
    for index in sockets.indices { refreshProbes(of: index, at: now) }
    nameSettledForRaces(host, at: now)
  }

  mutating func handleNameTimeouts(at now: Instant) {
    let due = names.due(until: now + configuration.openTimeout, at: now)
    for host in due.toAsk { perform(.resolve(host: host)) }
    for host in due.timedOut where names.resolved(host, to: [], random: &random, at: now) {
      nameSettled(host, at: now)
    }
  }
}
