"""A worker in text, with nothing but a socket: it prints its rank, and answers the commands it receives."""
import socket, sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as server:
    server.sendall(b"NAME worker\n")
    for line in server.makefile(encoding="utf-8", newline="\n"):
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "RANK":
            print("rank", rest.split()[0], flush=True)
        elif verb.startswith("EXEC"):
            rank, _, command = rest.partition(" ")
            print(f"rank {rank} wants: {command}", flush=True)
            if "#" in verb:  # tracked: the issuer waits for the outcome
                server.sendall(f"RESULT{verb[4:]} 0 did {command}\n".encode())
