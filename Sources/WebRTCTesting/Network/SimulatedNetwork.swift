// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Why a packet of the simulated network did not arrive.
public enum SimulatedLossCause: Int, CaseIterable, Sendable {
  /// A test closed the path.
  case closed
  /// More is in flight than a network holds.
  case overflow
  /// A link lost it, by chance or for good.
  case link
  /// The queue in front of a link with a limited rate was full.
  case queue
  /// It was larger than a link takes.
  case size
  /// Its destination is nowhere, or private and not here.
  case noRoute
  /// A NAT box had no binding that lets it in, or no room for one.
  case nat
  /// A firewall held it.
  case firewall
}

/// A network in memory and in virtual time: what is in flight, the boxes on the way, and the dice that decide.
///
/// Without sites it is one flat net where every address reaches every other under ``conditions``. With sites it is
/// a tree with the Internet at its root: a packet climbs from its sender's site until a site is found that its
/// destination is in, and goes down there. At each border that it crosses it meets the border's firewall, NAT box
/// and link, in the order in which it comes to them; when it has to wait on a link, boxes act when it gets there.
/// A host with a link of its own is a site with one host and no box.
///
/// Everything random comes from one seed, so a run repeats exactly; ``digest`` tells two runs apart.
public struct SimulatedNetwork {
  /// A datagram that arrives at a host.
  public struct Delivery {
    /// When it arrives.
    public let arrival: Instant
    /// Who sent it, as the receiver sees it.
    public let source: TransportAddress
    /// Where it arrives.
    public let destination: TransportAddress
    /// The site of the host that it arrives at. Two sites may use the same private addresses.
    public let site: SiteID
    /// Its payload.
    public let bytes: [UInt8]
  }

  struct Packet {
    var source: TransportAddress
    var destination: TransportAddress
    let bytes: [UInt8]

    /// Bytes with the headers of IP and UDP.
    var byteCount: Int { bytes.count + (destination.ip.family == .ipv4 ? 28 : 48) }
  }

  /// Where a packet comes to next.
  enum Stage {
    /// A host of the site.
    case host(SiteID)
    /// The link that leads into a site from above.
    case downlink(SiteID)
    /// The border of a site, from above.
    case border(SiteID)
    /// A site in which the way on has to be found.
    case routing(SiteID)

    var isHost: Bool { if case .host = self { true } else { false } }
  }

  /// A link in one direction.
  enum Link: Hashable {
    /// From one sender through the middle of a site.
    case inside(SiteID, TransportAddress)
    case up(SiteID)
    case down(SiteID)
  }

  /// Packets in flight at most; more are lost as in any network.
  public static let inFlightMax = 100_000
  /// The time that streams live on over a path that is broken: about what TCP and its users wait.
  public static let streamTimeout = TimeDelta.seconds(15)

  /// The conditions of the Internet between any two links to it.
  public var conditions: LinkConditions
  /// Whether a datagram may pass at all, seen where it is sent; a test closes paths with it.
  public var isOpen: (_ source: TransportAddress, _ destination: TransportAddress) -> Bool = { _, _ in true }
  /// Sees every datagram that a peer sends and says what goes on the wire in its place: the same, something
  /// altered, several, nothing. A wiretap, or a man in the middle.
  public var tap:
    ((_ bytes: [UInt8], _ source: TransportAddress, _ destination: TransportAddress) -> [[UInt8]])?
  /// What did not arrive so far, by cause.
  public internal(set) var losses = DropCounters<SimulatedLossCause>()
  /// Datagrams that were sent so far.
  public private(set) var sentCount = 0
  /// A number over all that arrived so far, and when: two runs that differ in any byte differ here.
  public internal(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325

  var sites: [SiteState]
  var random: RandomSource
  var links: [Link: LinkState] = [:]
  var streams: [StreamID: SimulatedStream] = [:]
  var listeners: Set<SimulatedListener> = []
  var streamEvents = TimedQueue<StreamEvent>()
  var nextStream = 0
  private var inFlight = TimedQueue<(stage: Stage, packet: Packet)>()
  private var externalAddressCount = 0

  /// Makes a network whose dice follow from `seed`.
  public init(conditions: LinkConditions = LinkConditions(), seed: UInt64) {
    self.conditions = conditions
    random = RandomSource(seed: seed)
    sites = [SiteState(SimulatedSite(), nat: nil)]
  }

  /// Packets that did not arrive so far.
  public var lostCount: Int { Int(losses.total) }

  /// When something arrives next, at a host or at a box on the way.
  public var nextArrival: Instant? { Instant.earliest(inFlight.nextTime, streamEvents.nextTime) }

  // MARK: Datagrams

  /// Puts a datagram on the wire.
  public mutating func send(
    _ bytes: [UInt8], from source: TransportAddress, in site: SiteID = .internet,
    to destination: TransportAddress, at now: Instant
  ) {
    sentCount += 1
    for bytes in tap?(bytes, source, destination) ?? [bytes] {
      guard isOpen(source, destination) else {
        losses[.closed] += 1
        continue
      }
      route(Packet(source: source, destination: destination, bytes: bytes), in: site, at: now)
    }
  }

  /// Lets a datagram arrive at once, whoever claims to have sent it: the attacker's way in. Neither the tap nor
  /// links nor boxes apply.
  public mutating func inject(
    _ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress,
    in site: SiteID = .internet, at now: Instant
  ) {
    let packet = Packet(source: source, destination: destination, bytes: bytes)
    inFlight.insert((.host(site), packet), at: now)
  }

  /// Takes the next datagram that has arrived at a host by `now`.
  public mutating func receive(at now: Instant) -> Delivery? {
    while let time = inFlight.nextTime, let (stage, packet) = inFlight.popFirst(at: now) {
      guard case .host(let site) = stage else {
        proceed(packet, to: stage, at: time)
        continue
      }
      note(packet.bytes, from: packet.source, to: packet.destination, at: time)
      return Delivery(
        arrival: time, source: packet.source, destination: packet.destination, site: site,
        bytes: packet.bytes)
    }
    return nil
  }

  /// Sends a packet over a link, or over none that does anything, to its next stage.
  mutating func transmit(
    _ packet: Packet, over link: Link, _ conditions: LinkConditions, to stage: Stage, at now: Instant
  ) {
    if conditions == .ideal, !stage.isHost { return proceed(packet, to: stage, at: now) }
    if let limit = conditions.packetByteCountMax, packet.byteCount > limit { return losses[.size] += 1 }
    guard inFlight.count < Self.inFlightMax else { return losses[.overflow] += 1 }
    var state = links[link] ?? LinkState()
    defer { links[link] = state }
    guard !state.losesPacket(conditions, random: &random) else { return losses[.link] += 1 }
    guard let departure = state.departure(of: packet.byteCount, over: conditions, at: now) else {
      return losses[.queue] += 1
    }
    let copies = random.roll(conditions.duplicationProbability) ? 2 : 1
    for _ in 0..<copies {
      inFlight.insert((stage, packet), at: departure + conditions.travelTime(random: &random))
    }
  }

  /// Takes an arrival into ``digest`` (FNV-1a).
  mutating func note(
    _ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress, at time: Instant
  ) {
    func add(_ word: UInt64) { digest = (digest ^ word) &* 0x100_0000_01b3 }
    add(UInt64(bitPattern: time.nanoseconds))
    for address in [source, destination] {
      add(address.ip.high ^ address.ip.low)
      add(UInt64(address.port))
    }
    for byte in bytes { add(UInt64(byte)) }
  }

  // MARK: Building

  /// Adds a site. A NAT box gets external addresses that are not used yet: from the blocks for documentation on
  /// the Internet, from the carriers' block 100.64/10 elsewhere. There is room for 500 on the Internet.
  public mutating func addSite(_ site: SimulatedSite) -> SiteID {
    precondition(sites.indices.contains(site.parent.index), "a site's parent is added before it")
    let nat = site.nat.map { behaviour in
      let addresses = (0..<behaviour.externalAddressCount).map { _ in makeExternalAddress(in: site.parent) }
      return NATBox(behaviour: behaviour, externalAddresses: addresses, random: random.split())
    }
    sites.append(SiteState(site, nat: nat))
    return SiteID(index: sites.count - 1)
  }

  private mutating func makeExternalAddress(in parent: SiteID) -> IPAddress {
    externalAddressCount += 1
    guard parent == .internet else { return IPAddress(ipv4: 0x6440_0000 | UInt32(externalAddressCount)) }
    precondition(externalAddressCount < 500, "no documentation addresses are left")
    // 198.51.100.0/24, then 203.0.113.0/24 (RFC 5737); 192.0.2.0/24 is for servers.
    let number = UInt32(externalAddressCount)
    return IPAddress(ipv4: number < 250 ? 0xc633_6400 | number : 0xcb00_7100 | (number - 249))
  }

  /// Gives a host its addresses in a site.
  public mutating func addHost(_ addresses: IPAddress..., in site: SiteID = .internet) -> SimulatedHost {
    SimulatedHost(interfaces: addresses.map { attach($0, to: site) })
  }

  /// Gives a host one more address.
  @discardableResult
  public mutating func attach(_ ip: IPAddress, to site: SiteID) -> SimulatedHost.Interface {
    sites[site.index].hosts.insert(ip)
    return SimulatedHost.Interface(ip: ip, site: site)
  }

  /// Takes an address away. What is sent to it is lost.
  public mutating func detach(_ interface: SimulatedHost.Interface) {
    sites[interface.site.index].hosts.remove(interface.ip)
  }

  /// Changes the links or the firewall of a site; its parent and its box stay.
  public mutating func update(_ site: SiteID, _ change: (inout SimulatedSite) -> Void) {
    var changed = sites[site.index].conditions
    change(&changed)
    let current = sites[site.index].conditions
    precondition(changed.parent == current.parent && changed.nat == current.nat, "borders stay what they are")
    sites[site.index].conditions = changed
    sites[site.index].firewall.rules = changed.firewall
  }

  /// The box and the firewall at a site's border start anew and have forgotten everything.
  public mutating func reboot(_ site: SiteID) {
    sites[site.index].nat?.reboot()
    sites[site.index].firewall.reboot()
    sites[site.index].bootCount += 1
  }

  /// The first external address of a site's NAT box.
  public func externalAddress(of site: SiteID) -> IPAddress? {
    sites[site.index].nat?.externalAddresses.first
  }
}
