// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import LocalKinesisVideo
import SansIO
import Testing

/// The error type that an operation ends with; `nil` when it succeeds.
private func errorType(_ operation: () throws(KinesisVideoError) -> Void) -> String? {
  do throws(KinesisVideoError) {
    try operation()
    return nil
  } catch {
    return error.errorType
  }
}

@Suite("The channel registry follows the control plane's contract")
struct ChannelRegistryTests {
  private let time: Int64 = 1_700_000_000_123

  private func makeRegistry(channelsMax: Int = 1000) -> ChannelRegistry {
    var configuration = ChannelRegistry.Configuration()
    configuration.channelsMax = channelsMax
    return ChannelRegistry(configuration: configuration, random: RandomSource(seed: 1))
  }

  @Test("AT-01 a new channel has an ARN with region, account, name and creation time")
  func create() throws {
    var registry = makeRegistry()
    let channel = try registry.create(name: "porch", atUnixMilliseconds: time)
    #expect(channel.arn == "arn:aws:kinesisvideo:us-west-2:000000000000:channel/porch/1700000000123")
    #expect(ChannelARN(parsing: channel.arn)?.name == "porch")
    #expect(registry.changeCount == 1)
  }

  @Test("AT-02 a name that exists is in use")
  func createTwice() throws {
    var registry = makeRegistry()
    _ = try registry.create(name: "porch", atUnixMilliseconds: time)
    let type = errorType { () throws(KinesisVideoError) in
      _ = try registry.create(name: "porch", atUnixMilliseconds: time + 1)
    }
    #expect(type == "ResourceInUseException")
  }

  @Test(
    "AT-03 malformed names are invalid arguments",
    arguments: ["", "a b", "a/b", "ü", "a\n", String(repeating: "n", count: 257)])
  func malformedName(name: String) {
    var registry = makeRegistry()
    let type = errorType { () throws(KinesisVideoError) in
      _ = try registry.create(name: name, atUnixMilliseconds: time)
    }
    #expect(type == "InvalidArgumentException")
  }

  @Test("a name of 256 characters and every legal one is taken")
  func longName() throws {
    var registry = makeRegistry()
    let name = "aZ09_.-" + String(repeating: "n", count: 249)
    let channel = try registry.create(name: name, atUnixMilliseconds: time)
    let described = try registry.describe(name: name, arn: nil)
    #expect(described == channel)
  }

  @Test("AT-04 the time to live is 5 to 120 seconds and 60 when left out", arguments: [4, 121, -1, 0, .max])
  func timeToLive(seconds: Int) throws {
    var registry = makeRegistry()
    let type = errorType { () throws(KinesisVideoError) in
      _ = try registry.create(name: "a", messageTTLSeconds: seconds, atUnixMilliseconds: time)
    }
    #expect(type == "InvalidArgumentException")
    let lowest = try registry.create(name: "b", messageTTLSeconds: 5, atUnixMilliseconds: time)
    #expect(lowest.messageTTLSeconds == 5)
    let preset = try registry.create(name: "c", atUnixMilliseconds: time)
    #expect(preset.messageTTLSeconds == 60)
  }

  @Test("AT-05 name and ARN describe the same channel, neither is an invalid argument")
  func describe() throws {
    var registry = makeRegistry()
    let channel = try registry.create(name: "porch", atUnixMilliseconds: time)
    let byName = try registry.describe(name: "porch", arn: nil)
    let byARN = try registry.describe(name: nil, arn: channel.arn)
    #expect(byName == channel)
    #expect(byARN == channel)
    let neither = errorType { () throws(KinesisVideoError) in _ = try registry.describe(name: nil, arn: nil) }
    #expect(neither == "InvalidArgumentException")
  }

  @Test("AT-06 unknown channels are not found, malformed ARNs are invalid arguments")
  func unknown() throws {
    var registry = makeRegistry()
    let channel = try registry.create(name: "porch", atUnixMilliseconds: time)
    func type(name: String? = nil, arn: String? = nil) -> String? {
      errorType { () throws(KinesisVideoError) in _ = try registry.describe(name: name, arn: arn) }
    }
    #expect(type(name: "yard") == "ResourceNotFoundException")
    #expect(type(arn: channel.arn + "4") == "ResourceNotFoundException")
    #expect(type(name: "yard", arn: channel.arn) == "ResourceNotFoundException")
    #expect(type(arn: channel.arn + "x") == "InvalidArgumentException")
    #expect(type(arn: String(channel.arn.dropFirst())) == "InvalidArgumentException")
    for count in 0..<channel.arn.utf8.count {
      let prefix = String(channel.arn.prefix(count))
      #expect(type(arn: prefix) != nil)
    }
  }

  @Test("AT-07 an update needs the current version and changes it")
  func update() throws {
    var registry = makeRegistry()
    let channel = try registry.create(name: "porch", atUnixMilliseconds: time)
    let stale = errorType { () throws(KinesisVideoError) in
      _ = try registry.update(arn: channel.arn, currentVersion: "stale", messageTTLSeconds: 30)
    }
    #expect(stale == "VersionMismatchException")
    let updated = try registry.update(
      arn: channel.arn, currentVersion: channel.version, messageTTLSeconds: 30)
    #expect(updated.version != channel.version)
    #expect(updated.messageTTLSeconds == 30)
    let again = errorType { () throws(KinesisVideoError) in
      _ = try registry.update(arn: channel.arn, currentVersion: channel.version, messageTTLSeconds: 31)
    }
    #expect(again == "VersionMismatchException")
  }

  @Test("AT-08 a deletion without a version succeeds, with a stale one it does not")
  func delete() throws {
    var registry = makeRegistry()
    let channel = try registry.create(name: "porch", atUnixMilliseconds: time)
    let stale = errorType { () throws(KinesisVideoError) in
      try registry.delete(arn: channel.arn, currentVersion: "stale")
    }
    #expect(stale == "VersionMismatchException")
    try registry.delete(arn: channel.arn, currentVersion: nil)
    let gone = errorType { () throws(KinesisVideoError) in
      _ = try registry.describe(name: nil, arn: channel.arn)
    }
    #expect(gone == "ResourceNotFoundException")
  }

  @Test("AT-09 pages list each channel once and the last has no token")
  func pages() throws {
    var registry = makeRegistry()
    for name in ["c", "a", "e", "b", "d"] { _ = try registry.create(name: name, atUnixMilliseconds: time) }
    var names: [[String]] = []
    var token: String?
    repeat {
      let page = try registry.list(maxResults: 2, nextToken: token)
      names.append(page.channels.map(\.name))
      token = page.nextToken
    } while token != nil
    #expect(names == [["a", "b"], ["c", "d"], ["e"]])
  }

  @Test("AT-10 a prefix narrows the list, page by page")
  func prefix() throws {
    var registry = makeRegistry()
    for name in ["cam-1", "cam-2", "door", "cam-3"] {
      _ = try registry.create(name: name, atUnixMilliseconds: time)
    }
    let first = try registry.list(maxResults: 2, namePrefix: "cam-")
    let second = try registry.list(maxResults: 2, nextToken: first.nextToken, namePrefix: "cam-")
    #expect((first.channels + second.channels).map(\.name) == ["cam-1", "cam-2", "cam-3"])
    #expect(second.nextToken == nil)
  }

  @Test(
    "a foreign token and a page size out of range are invalid arguments",
    arguments: ["AAAA", "0", "zz", "ffffffff61", String(repeating: "a", count: 1026), "\u{0}"])
  func foreignToken(token: String) {
    let registry = makeRegistry()
    let foreign = errorType { () throws(KinesisVideoError) in _ = try registry.list(nextToken: token) }
    #expect(foreign == "InvalidArgumentException")
    let size = errorType { () throws(KinesisVideoError) in _ = try registry.list(maxResults: 0) }
    #expect(size == "InvalidArgumentException")
  }

  @Test("AT-13 tags are added, replaced and removed, at most 50")
  func tags() throws {
    var registry = makeRegistry()
    let channel = try registry.create(
      name: "porch", tags: [(key: "room", value: "hall")], atUnixMilliseconds: time)
    try registry.tag(arn: channel.arn, tags: [("room", "yard"), ("été", "a b")])
    let tagged = try registry.channel(arn: channel.arn)
    #expect(tagged.tags == ["room": "yard", "été": "a b"])
    try registry.untag(arn: channel.arn, keys: ["room", "none"])
    let untagged = try registry.channel(arn: channel.arn)
    #expect(untagged.tags == ["été": "a b"])
    let tooMany = errorType { () throws(KinesisVideoError) in
      try registry.tag(arn: channel.arn, tags: (0..<50).map { ("k\($0)", "v") })
    }
    #expect(tooMany == "TagsPerResourceExceededLimitException")
    let malformed = errorType { () throws(KinesisVideoError) in
      try registry.tag(arn: channel.arn, tags: [("a\u{7}", "v")])
    }
    #expect(malformed == "InvalidArgumentException")
  }

  @Test("full mesh channels and channels beyond the limit are refused")
  func limits() throws {
    var registry = makeRegistry(channelsMax: 1)
    let mesh = errorType { () throws(KinesisVideoError) in
      _ = try registry.create(name: "a", type: "FULL_MESH", atUnixMilliseconds: time)
    }
    #expect(mesh == "InvalidArgumentException")
    _ = try registry.create(name: "a", type: "SINGLE_MASTER", atUnixMilliseconds: time)
    let second = errorType { () throws(KinesisVideoError) in
      _ = try registry.create(name: "b", atUnixMilliseconds: time)
    }
    #expect(second == "AccountChannelLimitExceededException")
  }

  @Test("channels of an earlier run are there again, unsound ones are not")
  func restore() throws {
    var registry = makeRegistry()
    let channel = try registry.create(name: "porch", atUnixMilliseconds: time)
    let restored = ChannelRegistry(
      configuration: ChannelRegistry.Configuration(), random: RandomSource(seed: 2),
      restoring: registry.channels)
    let found = try restored.describe(name: "porch", arn: nil)
    #expect(found == channel)
    #expect(restored.changeCount == 0)
  }
}
