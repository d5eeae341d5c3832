#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a stand-in of the Kinesis Video service with AWS' own client library.

Channels are made, listed, described, tagged and deleted with boto3; errors have to arrive as boto3's exceptions; a
master and a viewer exchange messages over presigned WebSockets. Needs the packages boto3 and websockets.

    boto3_contract.py --endpoint http://127.0.0.1:8080
"""

import argparse
import asyncio
import base64
import json
import sys
import urllib.error
import urllib.request
import uuid
from urllib.parse import urlsplit

import boto3
import websockets
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

PASSED = []


def check(condition, what):
    """Notes one fact; the first that does not hold ends the run."""
    if not condition:
        print(f"FAILED: {what}")
        sys.exit(1)
    PASSED.append(what)
    print(f"ok: {what}")


def error_of(call, **arguments):
    """The ClientError of a call that has to fail."""
    try:
        call(**arguments)
    except ClientError as error:
        return error
    return None


def check_error(call, code, status, what, **arguments):
    error = error_of(call, **arguments)
    check(error is not None, f"{what}: is refused")
    check(
        error.response["Error"]["Code"] == code
        and error.response["ResponseMetadata"]["HTTPStatusCode"] == status,
        f"{what}: {code} with {status} "
        f"({error.response['Error']['Code']}, {error.response['ResponseMetadata']['HTTPStatusCode']})",
    )
    return error


class Service:
    """The clients of one stand-in and key pair."""

    def __init__(self, options, access_key=None, secret_key=None, region=None):
        self.endpoint = options.endpoint.rstrip("/")
        self.region = region or options.region
        self.access_key = access_key or options.access_key
        self.secret_key = secret_key or options.secret_key
        self.video = self.client("kinesisvideo", self.endpoint)

    def client(self, name, endpoint):
        return boto3.client(
            name,
            endpoint_url=endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"max_attempts": 1}, connect_timeout=10, read_timeout=20),
        )

    def endpoints(self, arn, role):
        answer = self.video.get_signaling_channel_endpoint(
            ChannelARN=arn,
            SingleMasterChannelEndpointConfiguration={"Protocols": ["WSS", "HTTPS"], "Role": role},
        )
        return {item["Protocol"]: item["ResourceEndpoint"] for item in answer["ResourceEndpointList"]}

    def presigned(self, endpoint, arn, client_id=None, secret_key=None):
        """A WebSocket address, signed by botocore."""
        parts = urlsplit(endpoint)
        params = {"X-Amz-ChannelARN": arn}
        if client_id:
            params["X-Amz-ClientId"] = client_id
        request = AWSRequest("GET", f"http://{parts.netloc}{parts.path or '/'}", params=params)
        credentials = Credentials(self.access_key, secret_key or self.secret_key)
        SigV4QueryAuth(credentials, "kinesisvideo", self.region, expires=299).add_auth(request)
        return request.url.replace("http://", parts.scheme + "://", 1)


def check_channels(service):
    video = service.video
    names = [f"contract-{uuid.uuid4().hex[:8]}-{index}" for index in range(5)]
    prefix = names[0].rsplit("-", 2)[0]
    arns = {}
    for name in names:
        arns[name] = video.create_signaling_channel(ChannelName=name)["ChannelARN"]
    check(
        all(f":channel/{name}/" in arn and arn.startswith("arn:aws:kinesisvideo:") for name, arn in arns.items()),
        "created channels have ARNs of the service's form",
    )
    info = video.describe_signaling_channel(ChannelName=names[0])["ChannelInfo"]
    by_arn = video.describe_signaling_channel(ChannelARN=arns[names[0]])["ChannelInfo"]
    check(info == by_arn, "name and ARN describe the same channel")
    check(
        info["ChannelStatus"] == "ACTIVE" and info["ChannelType"] == "SINGLE_MASTER"
        and info["SingleMasterConfiguration"]["MessageTtlSeconds"] == 60,
        "a channel is active and has the default time to live",
    )
    check(info["CreationTime"].year >= 2024, "the creation time is read as a time")
    listed, token = [], None
    while True:
        arguments = {"NextToken": token} if token else {}
        page = video.list_signaling_channels(
            MaxResults=2, ChannelNameCondition={"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": prefix},
            **arguments)
        listed += [item["ChannelName"] for item in page["ChannelInfoList"]]
        token = page.get("NextToken")
        if not token:
            break
    check(sorted(set(listed) & set(names)) == sorted(names) and len(listed) == len(set(listed)),
          "pages list each channel once")
    check(set(names) <= {item["ChannelName"] for item in video.list_signaling_channels()["ChannelInfoList"]},
          "a list without a condition holds all channels")
    video.update_signaling_channel(
        ChannelARN=info["ChannelARN"], CurrentVersion=info["Version"],
        SingleMasterConfiguration={"MessageTtlSeconds": 30})
    updated = video.describe_signaling_channel(ChannelName=names[0])["ChannelInfo"]
    check(
        updated["Version"] != info["Version"] and updated["SingleMasterConfiguration"]["MessageTtlSeconds"] == 30,
        "an update changes value and version",
    )
    check_error(
        video.update_signaling_channel, "VersionMismatchException", 400, "an update with a stale version",
        ChannelARN=info["ChannelARN"], CurrentVersion=info["Version"],
        SingleMasterConfiguration={"MessageTtlSeconds": 31})
    video.tag_resource(ResourceARN=arns[names[1]], Tags=[{"Key": "room", "Value": "hall"}, {"Key": "b", "Value": ""}])
    video.untag_resource(ResourceARN=arns[names[1]], TagKeyList=["b"])
    check(video.list_tags_for_resource(ResourceARN=arns[names[1]])["Tags"] == {"room": "hall"}, "tags come as a map")
    return names, arns


def check_errors(service, options, names, arns):
    video = service.video
    create = video.create_signaling_channel
    check_error(create, "ResourceInUseException", 400, "a name that exists", ChannelName=names[0])
    check_error(create, "InvalidArgumentException", 400, "a name with a blank", ChannelName="a b")
    check_error(create, "InvalidArgumentException", 400, "a name of 257 characters", ChannelName="n" * 257)
    check_error(
        create, "InvalidArgumentException", 400, "a time to live of 121", ChannelName="ttl",
        SingleMasterConfiguration={"MessageTtlSeconds": 121})
    check_error(video.describe_signaling_channel, "InvalidArgumentException", 400, "a description of nothing")
    error = check_error(
        video.describe_signaling_channel, "ResourceNotFoundException", 404, "an unknown channel",
        ChannelName="no-such-channel")
    check(isinstance(error, video.exceptions.ResourceNotFoundException), "boto3 raises its class for it")
    check("x-amzn-requestid" in error.response["ResponseMetadata"]["HTTPHeaders"], "answers carry a request id")
    check_error(
        video.get_signaling_channel_endpoint, "InvalidArgumentException", 400, "a storage endpoint without storage",
        ChannelARN=arns[names[0]],
        SingleMasterChannelEndpointConfiguration={"Protocols": ["WEBRTC"], "Role": "MASTER"})
    for what, other in {
        "a wrong secret": Service(options, secret_key="wrong-" + options.secret_key),
        "an unknown key": Service(options, access_key="AKIDUNKNOWN"),
        "a wrong region": Service(options, region="eu-central-1"),
    }.items():
        error = error_of(other.video.list_signaling_channels)
        check(error is not None and error.response["ResponseMetadata"]["HTTPStatusCode"] == 403,
              f"{what}: 403 ({error.response['Error']['Code'] if error else None})")


def check_http(service):
    """What boto3 does not show: preflights, unknown paths, unsigned calls, the page's own calls."""

    def call(path, method="POST", body=b"", headers=None):
        request = urllib.request.Request(service.endpoint + path, data=body if method == "POST" else None,
                                         method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    status, headers, body = call("/noSuchOperation")
    check(status == 403 and b"<AccessDeniedException>" in body and b"Unable to determine service/operation" in body,
          "an unknown path is answered with the service's XML")
    status, headers, body = call("/listSignalingChannels", body=b"{}")
    check(status == 403 and headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
          and "message" in json.loads(body), "a call without a signature is refused")
    check(headers["Access-Control-Allow-Origin"] == "*" and headers["Date"] and headers["x-amzn-RequestId"],
          "errors can be read by pages of other origins")
    status, headers, _ = call("/describeSignalingChannel", "OPTIONS", headers={
        "Origin": "http://example.test", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-amz-date"})
    allowed = headers["Access-Control-Allow-Headers"].lower()
    check(status in (200, 204) and all(
        name in allowed for name in ("authorization", "content-type", "x-amz-date", "x-amz-user-agent",
                                     "x-amz-content-sha256", "amz-sdk-invocation-id", "amz-sdk-request")),
          "preflights are answered")
    status, headers, body = call("/", "GET")
    check(status == 200 and headers["Content-Type"].startswith("text/html") and headers["ETag"], "the page is served")
    status, _, _ = call("/", "GET", headers={"If-None-Match": headers["ETag"]})
    check(status == 304, "an unchanged page is not sent twice")
    return call


async def check_signaling(service, call, name, arn):
    master_endpoint = service.endpoints(arn, "MASTER")
    viewer_endpoint = service.endpoints(arn, "VIEWER")
    check(set(master_endpoint) == {"WSS", "HTTPS"} and master_endpoint["WSS"] != viewer_endpoint["WSS"],
          "master and viewer have endpoints of their own")
    signaling = service.client("kinesis-video-signaling", viewer_endpoint["HTTPS"])
    check("IceServerList" in signaling.get_ice_server_config(ChannelARN=arn, ClientId="viewer-1", Service="TURN"),
          "boto3 reads the ICE servers")
    check_error(signaling.get_ice_server_config, "ResourceNotFoundException", 404, "ICE servers of an unknown channel",
                ChannelARN=arn + "4")

    async def refused(url):
        try:
            async with websockets.connect(url):
                return None, None
        except websockets.exceptions.InvalidStatus as error:
            return error.response.status_code, error.response.headers.get("x-amzn-ErrorType")

    master_url = service.presigned(master_endpoint["WSS"], arn)
    wrong = service.presigned(master_endpoint["WSS"], arn, secret_key="wrong")
    check(await refused(wrong) == (403, "InvalidSignatureException"), "a wrongly signed WebSocket is refused with 403")
    check(await refused(master_url.replace("/m/", "/v/")) == (403, "InvalidSignatureException"),
          "a changed path is refused with 403")
    check(await refused(service.presigned(viewer_endpoint["WSS"], arn)) == (400, "InvalidArgumentException"),
          "a viewer without an id is refused with 400")
    check(await refused(service.presigned(viewer_endpoint["WSS"], arn, "AWS_x")) == (400, "InvalidArgumentException"),
          "a viewer with a reserved id is refused with 400")
    gone = arn + "4"
    check(await refused(service.presigned(urlsplit(master_endpoint["WSS"])._replace(path="/").geturl(), gone))
          == (404, "ResourceNotFoundException"), "a WebSocket to an unknown channel is refused with 404")

    def payload(value):
        return base64.b64encode(json.dumps(value).encode()).decode()

    async def receive(socket):
        return json.loads(await asyncio.wait_for(socket.recv(), 10))

    viewer_url = service.presigned(viewer_endpoint["WSS"], arn, "viewer-1")
    async with websockets.connect(viewer_url, subprotocols=["wss"]) as viewer:
        check(viewer.subprotocol is None, "no subprotocol is chosen")
        offer = payload({"type": "offer", "sdp": "v=0\r\n"})
        await viewer.send(json.dumps({"action": "SDP_OFFER", "messagePayload": offer, "correlationId": "c1"}))
        async with websockets.connect(master_url) as master:
            check(await receive(master) == {
                "messagePayload": offer, "messageType": "SDP_OFFER", "senderClientId": "viewer-1",
            }, "an offer waits for the master and names its sender")
            answer = payload({"type": "answer", "sdp": "v=0\r\n"})
            await master.send(json.dumps({
                "Action": "SDP_ANSWER", "RecipientClientId": "viewer-1", "MessagePayload": answer}))
            check(await receive(viewer) == {"messagePayload": answer, "messageType": "SDP_ANSWER"},
                  "an answer in PascalCase reaches the viewer, without a sender")
            await master.send(json.dumps({"action": "SDP_ANSWER", "messagePayload": answer, "correlationId": "c2"}))
            status = await receive(master)
            check(status["messageType"] == "STATUS_RESPONSE" and status["statusResponse"]["statusCode"] == "400"
                  and status["statusResponse"]["correlationId"] == "c2"
                  and status["statusResponse"]["success"] is False, "a message without a recipient gets a status")
            await asyncio.wait_for(await master.ping(), 10)
            check(True, "a ping is answered")
            await viewer.send(["{\"action\":\"ICE_CAN", "", "DIDATE\",\"messagePayload\":\"e30=\"}"])
            check((await receive(master))["messagePayload"] == "e30=", "a message in fragments is put together")
            status, _, body = call("/api/channels", "GET")
            entry = next(item for item in json.loads(body)["channels"] if item["name"] == name)
            check(entry["hasMaster"] and entry["viewerCount"] == 1, "the page's list shows who is there")
            status, _, body = call(f"/api/connect?channel={name}", "GET")
            connection = json.loads(body)
            async with websockets.connect(connection["url"]) as page:
                await page.send(json.dumps({"action": "SDP_OFFER", "messagePayload": offer}))
                check((await receive(master))["senderClientId"] == connection["clientId"],
                      "the page's presigned address connects a viewer")
            await viewer.send(b"\x00\x01")
            try:
                await asyncio.wait_for(viewer.recv(), 10)
                check(False, "a binary message closes the connection")
            except websockets.exceptions.ConnectionClosed as error:
                check(error.rcvd is not None and error.rcvd.code == 1003, "a binary message closes the connection")
            async with websockets.connect(master_url) as second:
                try:
                    await asyncio.wait_for(master.recv(), 10)
                    check(False, "a second master takes the first one's place")
                except websockets.exceptions.ConnectionClosed as error:
                    check(error.rcvd is not None and error.rcvd.code == 1001,
                          "a second master takes the first one's place")
                service.video.delete_signaling_channel(ChannelARN=arn)
                try:
                    await asyncio.wait_for(second.recv(), 10)
                    check(False, "a deleted channel's connections are closed")
                except websockets.exceptions.ConnectionClosed as error:
                    check(error.rcvd is not None and error.rcvd.code == 1001,
                          "a deleted channel's connections are closed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="where the stand-in listens, http://host:port")
    parser.add_argument("--region", default="us-west-2")
    parser.add_argument("--access-key", default="local")
    parser.add_argument("--secret-key", default="local-secret")
    options = parser.parse_args()
    service = Service(options)
    names, arns = check_channels(service)
    check_errors(service, options, names, arns)
    call = check_http(service)
    asyncio.run(check_signaling(service, call, names[2], arns[names[2]]))
    for name in names:
        if name != names[2]:
            service.video.delete_signaling_channel(ChannelARN=arns[name])
    check_error(service.video.describe_signaling_channel, "ResourceNotFoundException", 404, "a deleted channel",
                ChannelName=names[0])
    print(f"{len(PASSED)} checks passed")


if __name__ == "__main__":
    main()
