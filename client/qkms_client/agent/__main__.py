"""`python -m qkms_client.agent`: the command `qkms-agent`."""

from qkms_client.agent.main import main

main(prog_name="qkms-agent")
