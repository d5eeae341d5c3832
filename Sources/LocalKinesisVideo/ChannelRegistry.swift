// SPDX-License-Identifier: Apache-2.0

public import KinesisVideo
public import SansIO

/// One signaling channel as the control plane knows it.
public struct SignalingChannel: Hashable, Sendable, Codable {
  /// Its name, unique in the stand-in.
  public let name: String
  /// Its resource name.
  public let arn: String
  /// When it was made, in milliseconds since 1970.
  public let creationMilliseconds: Int64
  /// How long an undelivered message lives: 5 to 120 seconds.
  public internal(set) var messageTTLSeconds: Int
  /// Changes with every update.
  public internal(set) var version: String
  /// At most 50 pairs.
  public internal(set) var tags: [String: String]
}

/// The control plane of the stand-in: which signaling channels exist, by the rules of the service's API.
///
/// A value without clock or storage: whoever drives it passes the wall-clock time in and writes ``channels`` down
/// when ``changeCount`` has moved. A new channel is ACTIVE at once, a deleted one gone at once.
public struct ChannelRegistry: Sendable {
  /// The registry's bounds and identity.
  public struct Configuration: Sendable {
    /// The ARN's partition.
    public var partition = "aws"
    /// The ARN's region.
    public var region = "us-west-2"
    /// The ARN's account: 12 digits.
    public var account = "000000000000"
    /// How many channels may exist; the service allows 5,000 and more, a machine's stand-in needs no such number.
    public var channelsMax = 1000

    /// The defaults.
    public init() {}
  }

  /// The service's numbers for messages, pages and tags.
  enum Limits {
    static let messageTTLSeconds = 5...120
    static let messageTTLSecondsDefault = 60
    static let pageSize = 1...10_000
    static let pageSizeDefault = 500
    static let tagsMax = 50
    static let tagKeyCharactersMax = 128
    static let tagValueCharactersMax = 256
    static let nextTokenCharactersMax = 1024
    /// Random characters of a version.
    static let versionCharacters = 20
  }

  /// One page of a listing.
  public struct Page: Sendable {
    /// The channels in the order of their names.
    public let channels: [SignalingChannel]
    /// What continues the listing; `nil` at its end.
    public let nextToken: String?
  }

  /// How a caller names a channel.
  public enum Reference: Sendable {
    /// By its name.
    case name(String)
    /// By its resource name.
    case arn(String)
  }

  private let configuration: Configuration
  private var random: RandomSource
  private var channelsByName: [String: SignalingChannel] = [:]
  /// Begins every paging token of this registry, so that tokens of other services are refused.
  private let tokenMark: String
  /// How often anything was changed, so that a driver knows when to write it down.
  public private(set) var changeCount = 0

  /// Makes a registry; `channels` are those of an earlier run.
  public init(configuration: Configuration, random: RandomSource, restoring channels: [SignalingChannel] = [])
  {
    self.configuration = configuration
    self.random = random
    tokenMark = Self.hexadecimal(self.random.bytes(4))
    for channel in channels.prefix(configuration.channelsMax) where Self.isSound(channel) {
      channelsByName[channel.name] = channel
    }
  }

  /// All channels in the order of their names.
  public var channels: [SignalingChannel] { channelsByName.values.sorted { $0.name < $1.name } }

  /// CreateSignalingChannel. The time is in milliseconds since 1970.
  public mutating func create(
    name: String, type: String? = nil, messageTTLSeconds: Int? = nil,
    tags: [(key: String, value: String)] = [],
    atUnixMilliseconds now: Int64
  ) throws(KinesisVideoError) -> SignalingChannel {
    guard ServiceNames.isChannelName(name) else {
      throw KinesisVideoError(
        .invalidArgument, "ChannelName must have 1 to 256 characters of a-z, A-Z, 0-9, '_', '.' and '-'.")
    }
    guard type == nil || type == "SINGLE_MASTER" else {
      throw KinesisVideoError(.invalidArgument, "ChannelType must be SINGLE_MASTER.")
    }
    let timeToLive = try Self.checkedTTL(messageTTLSeconds)
    let checkedTags = try Self.merging(tags, into: [:])
    guard channelsByName[name] == nil else {
      throw KinesisVideoError(.resourceInUse, "A signaling channel with this name exists.")
    }
    guard channelsByName.count < configuration.channelsMax else {
      throw KinesisVideoError(
        .accountChannelLimitExceeded, "There are \(configuration.channelsMax) channels, which is the limit.")
    }
    let arn = ChannelARN(
      partition: configuration.partition, region: configuration.region, account: configuration.account,
      name: name, creationMilliseconds: now)
    let channel = SignalingChannel(
      name: name, arn: arn.description, creationMilliseconds: now, messageTTLSeconds: timeToLive,
      version: makeVersion(), tags: checkedTags)
    channelsByName[name] = channel
    changeCount += 1
    return channel
  }

  /// DescribeSignalingChannel: the channel of a name or ARN; both given must mean the same one.
  public func describe(name: String?, arn: String?) throws(KinesisVideoError) -> SignalingChannel {
    if let arn {
      let channel = try channel(arn: arn)
      guard name == nil || name == channel.name else { throw Self.notFound }
      return channel
    }
    guard let name else {
      throw KinesisVideoError(.invalidArgument, "Either ChannelName or ChannelARN must be given.")
    }
    guard ServiceNames.isChannelName(name) else {
      throw KinesisVideoError(.invalidArgument, "ChannelName is malformed.")
    }
    guard let channel = channelsByName[name] else { throw Self.notFound }
    return channel
  }

  /// The channel of an ARN.
  public func channel(arn: String) throws(KinesisVideoError) -> SignalingChannel {
    guard let parsed = ChannelARN(parsing: arn) else {
      throw KinesisVideoError(.invalidArgument, "The channel's ARN is malformed.")
    }
    guard let channel = channelsByName[parsed.name], channel.arn == arn else { throw Self.notFound }
    return channel
  }

  /// ListSignalingChannels: one page, in the order of names; a prefix narrows the list.
  public func list(
    maxResults: Int? = nil, nextToken: String? = nil, namePrefix: String? = nil
  ) throws(KinesisVideoError) -> Page {
    let size = maxResults ?? Limits.pageSizeDefault
    guard Limits.pageSize.contains(size) else {
      throw KinesisVideoError(.invalidArgument, "MaxResults must be from 1 to 10000.")
    }
    if let namePrefix, !ServiceNames.isChannelName(namePrefix) {
      throw KinesisVideoError(.invalidArgument, "ComparisonValue is malformed.")
    }
    var after = ""
    if let nextToken, !nextToken.isEmpty { after = try nameInToken(nextToken) }
    let matching = channels.filter { channel in
      channel.name > after && (namePrefix.map(channel.name.hasPrefix) ?? true)
    }
    let page = Array(matching.prefix(size))
    guard matching.count > page.count, let last = page.last else {
      return Page(channels: page, nextToken: nil)
    }
    return Page(channels: page, nextToken: tokenMark + Self.hexadecimal(Array(last.name.utf8)))
  }

  /// UpdateSignalingChannel. An absent time to live leaves it as it is.
  public mutating func update(
    arn: String, currentVersion: String, messageTTLSeconds: Int?
  ) throws(KinesisVideoError) -> SignalingChannel {
    var channel = try channel(arn: arn)
    try Self.check(currentVersion, against: channel)
    if let messageTTLSeconds { channel.messageTTLSeconds = try Self.checkedTTL(messageTTLSeconds) }
    channel.version = makeVersion()
    store(channel)
    return channel
  }

  /// DeleteSignalingChannel. An absent version means the current one.
  public mutating func delete(arn: String, currentVersion: String?) throws(KinesisVideoError) {
    let channel = try channel(arn: arn)
    if let currentVersion { try Self.check(currentVersion, against: channel) }
    channelsByName[channel.name] = nil
    changeCount += 1
  }

  /// TagResource: adds tags, or replaces the values of those that exist.
  public mutating func tag(arn: String, tags: [(key: String, value: String)]) throws(KinesisVideoError) {
    var channel = try channel(arn: arn)
    guard !tags.isEmpty else { throw KinesisVideoError(.invalidArgument, "Tags must not be empty.") }
    channel.tags = try Self.merging(tags, into: channel.tags)
    store(channel)
  }

  /// UntagResource: removes tags; those that do not exist are no error.
  public mutating func untag(arn: String, keys: [String]) throws(KinesisVideoError) {
    var channel = try channel(arn: arn)
    guard !keys.isEmpty, keys.count <= Limits.tagsMax else {
      throw KinesisVideoError(.invalidArgument, "TagKeyList must have 1 to 50 entries.")
    }
    for key in keys { channel.tags[key] = nil }
    store(channel)
  }

  private mutating func store(_ channel: SignalingChannel) {
    channelsByName[channel.name] = channel
    changeCount += 1
  }

  // MARK: checks

  private static var notFound: KinesisVideoError {
    KinesisVideoError(.resourceNotFound, "The requested channel is not found or not active.")
  }

  /// A channel of a stored file that this registry could have made.
  private static func isSound(_ channel: SignalingChannel) -> Bool {
    guard let arn = ChannelARN(parsing: channel.arn), arn.name == channel.name,
      Limits.messageTTLSeconds.contains(channel.messageTTLSeconds),
      ServiceNames.isVersion(channel.version), channel.tags.count <= Limits.tagsMax
    else { return false }
    return channel.tags.allSatisfy(isSoundTag)
  }

  private static func isSoundTag(key: String, value: String) -> Bool {
    !key.isEmpty && key.count <= Limits.tagKeyCharactersMax && value.count <= Limits.tagValueCharactersMax
      && ServiceNames.isTagText(key) && ServiceNames.isTagText(value)
  }

  private static func checkedTTL(_ seconds: Int?) throws(KinesisVideoError) -> Int {
    guard let seconds else { return Limits.messageTTLSecondsDefault }
    guard Limits.messageTTLSeconds.contains(seconds) else {
      throw KinesisVideoError(.invalidArgument, "MessageTtlSeconds must be from 5 to 120.")
    }
    return seconds
  }

  private static func check(_ version: String, against channel: SignalingChannel) throws(KinesisVideoError) {
    guard ServiceNames.isVersion(version) else {
      throw KinesisVideoError(.invalidArgument, "CurrentVersion is malformed.")
    }
    guard version == channel.version else {
      throw KinesisVideoError(.versionMismatch, "CurrentVersion is not the channel's current version.")
    }
  }

  private static func merging(
    _ tags: [(key: String, value: String)], into existing: [String: String]
  ) throws(KinesisVideoError) -> [String: String] {
    var result = existing
    for tag in tags {
      guard isSoundTag(key: tag.key, value: tag.value) else {
        throw KinesisVideoError(
          .invalidArgument,
          "A tag's key has 1 to 128 and its value up to 256 letters, digits, spaces or '_.:/=+-@'.")
      }
      result[tag.key] = tag.value
    }
    guard result.count <= Limits.tagsMax else {
      throw KinesisVideoError(.tagsPerResourceExceededLimit, "A channel can have 50 tags.")
    }
    return result
  }

  // MARK: tokens and versions

  private mutating func makeVersion() -> String {
    let alphabet = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    return String((0..<Limits.versionCharacters).map { _ in alphabet[Int(random.next() % 62)] })
  }

  private func nameInToken(_ token: String) throws(KinesisVideoError) -> String {
    let bytes = Array(token.utf8)
    let mark = Array(tokenMark.utf8)
    guard bytes.count <= Limits.nextTokenCharactersMax, bytes.count % 2 == 0, bytes.starts(with: mark) else {
      throw KinesisVideoError(.invalidArgument, "NextToken is not one of this listing.")
    }
    var name: [UInt8] = []
    for index in stride(from: mark.count, to: bytes.count, by: 2) {
      guard let digits = String(validating: bytes[index..<(index + 2)], as: UTF8.self),
        let byte = UInt8(digits, radix: 16), ServiceNames.isNameByte(byte)
      else { throw KinesisVideoError(.invalidArgument, "NextToken is not one of this listing.") }
      name.append(byte)
    }
    return String(decoding: name, as: UTF8.self)
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}
