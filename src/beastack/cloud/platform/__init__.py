"""What differs between the systems a cloud is brought up on: packages, services, hosts."""
